//! Owns a small browser for stories: one address, cookies, forms, no scripts.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

/// A browser at one console.
pub(crate) struct Browser {
    host: String,
    cookies: BTreeMap<String, String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Such as 200.
    pub(crate) status: u16,
    /// The lines above the body.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Browser {
    /// At the console on this port of loopback.
    pub(crate) fn new(port: u16) -> Self {
        Self { host: format!("127.0.0.1:{port}"), cookies: BTreeMap::new() }
    }

    /// Asks for a page.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    /// Opens the login page and sends its form.
    pub(crate) fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/login").text();
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
        let token = rest.split_once('"').unwrap().0;
        let form = format!("name={name}&password={password}&form_token={token}&next=/");
        self.send("POST", "/login", &form)
    }

    fn send(&mut self, method: &str, path: &str, form: &str) -> Answer {
        let host = &self.host;
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut stream = TcpStream::connect(host).unwrap();
        // Version 1.0: the answer is whole and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\naccept: text/html\r\ncookie: {}\r\n\
             origin: http://{host}\r\nsec-fetch-site: same-origin\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            cookies.join("; "),
            form.len(),
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let original = String::from_utf8_lossy(&bytes[..end]).into_owned();
        for line in original.lines() {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("set-cookie")
            {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes.split_off(end + 4) }
    }
}
