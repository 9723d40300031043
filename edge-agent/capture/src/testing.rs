//! Owns the network camera of tests: a real RTSP server on loopback with a moving picture, which wants a password, goes
//! away with everybody connected, and comes back at the same address. Never part of a product binary.

use std::thread::JoinHandle;

use gst::glib;
use gstreamer as gst;
use gstreamer_rtsp_server::{
    RTSPAuth, RTSPFilterResult, RTSPMediaFactory, RTSPServer, RTSPToken, prelude::*,
};

/// What it shows: 640 by 360, 25 pictures and one key frame a second.
const LINE: &str = "( videotestsrc is-live=true pattern=ball ! \
     video/x-raw,format=I420,width=640,height=360,framerate=25/1 ! \
     x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 )";
/// The only role that it knows.
const ROLE: &str = "viewer";

/// A network camera that exists for one test.
pub struct TestCamera {
    running: Option<Running>,
    port: u16,
    login: Option<(String, String)>,
}

struct Running {
    server: RTSPServer,
    main: glib::MainLoop,
    thread: JoinHandle<()>,
}

/// Tests have no one to give an error to.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "test support")]
        Err(error) => panic!("test camera: {error}"),
    }
}

impl TestCamera {
    /// A camera that serves, to everybody or to this user with this password.
    #[must_use]
    pub fn start(login: Option<(&str, &str)>) -> Self {
        must(gst::init());
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let mut camera = Self { running: None, port: 0, login };
        camera.come_back();
        camera
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/main", self.port)
    }

    /// Ends every connection and takes no other.
    pub fn go_away(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.server.client_filter(Some(&mut |_, _| RTSPFilterResult::Remove));
        running.main.quit();
        must(running.thread.join().map_err(|_| "its thread panicked"));
    }

    /// Serves again, where it did before.
    pub fn come_back(&mut self) {
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&self.port.to_string());
        let factory = RTSPMediaFactory::new();
        factory.set_launch(LINE);
        factory.set_shared(true);
        if let Some((user, password)) = &self.login {
            let role = gst::Structure::builder(ROLE)
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build();
            factory.add_role_from_structure(&role);
            let auth = RTSPAuth::new();
            let token = RTSPToken::builder().field("media.factory.role", ROLE).build();
            auth.add_basic(&RTSPAuth::make_basic(user, password), &token);
            server.set_auth(Some(&auth));
        }
        must(server.mount_points().ok_or("no mount points")).add_factory("/main", factory);
        let context = glib::MainContext::new();
        let source = must(server.attach(Some(&context)));
        self.port = must(u16::try_from(server.bound_port()));
        let main = glib::MainLoop::new(Some(&context), false);
        let inner = main.clone();
        let spawned = std::thread::Builder::new().name("camera".into()).spawn(move || {
            inner.run();
            // Closes the socket, so that the next one may have its port.
            if let Some(source) = context.find_source_by_id(&source) {
                source.destroy();
            }
        });
        self.running = Some(Running { server, main, thread: must(spawned) });
    }
}

impl Drop for TestCamera {
    fn drop(&mut self) {
        self.go_away();
    }
}
