//! Owns which processes a site on one machine has, in the order in which they are stopped, and what each needs first.

use std::{ffi::OsString, path::Path};

use crate::{
    programs::Programs,
    site::{Site, loopback},
    supervisor::{Limits, Program, Ready, Stop, bound},
};

/// Name of the gateway among the processes: the one that ends by itself in a batch.
pub const EDGE: &str = "edge";

/// The processes of a site. Clips are taken in at the front of the list and results come out at its end, so the list is
/// also the order of stopping: what is still on its way can arrive.
#[must_use]
pub fn of(site: &Site, programs: &Programs, batch: bool) -> Vec<Program> {
    let service = |name, path: &Path, command: Option<&str>, after| {
        let config = site.layout.config(&format!("{name}.toml"));
        let mut arguments: Vec<OsString> = command.into_iter().map(OsString::from).collect();
        arguments.extend(["--config".into(), config.into_os_string()]);
        Program {
            name,
            path: path.to_owned(),
            arguments,
            environment: store_keys(site, name),
            folder: site.layout.state().to_owned(),
            ready: Ready::Line,
            stop: Stop::EndOfInput,
            after,
            ends: false,
            limits: Limits::SERVICE,
        }
    };
    let edge = service(EDGE, &programs.edge, None, &["fog", "broker"]);
    let mut all = vec![
        Program { ends: batch, ..edge },
        service("fog", &programs.fog, Some("serve"), &["broker"]),
        service("bridge", &programs.bridge, None, &["store", "broker"]),
    ];
    if !batch {
        all.push(service("console", &programs.console, None, &["bridge"]));
    }
    all.push(service("function", &programs.celosia, Some("function"), &[]));
    all.push(service("store", &programs.celosia, Some("object-store"), &[]));
    all.push(broker(site, programs));
    all
}

fn broker(site: &Site, programs: &Programs) -> Program {
    let config = site.layout.config("broker.conf");
    let arguments = ["-c".into(), config.clone().into_os_string()];
    Program {
        name: "broker",
        path: programs.celosia.clone(),
        arguments: bound::arguments(&programs.mosquitto, &arguments),
        environment: Vec::new(),
        // Its configuration names files from its own folder.
        folder: config.parent().unwrap_or(site.layout.state()).to_owned(),
        ready: Ready::Accepts(loopback(site.ports.broker)),
        stop: Stop::Terminate,
        after: &[],
        ends: false,
        limits: Limits::SERVICE,
    }
}

/// Keys for the object store, for those that have some, in the standard environment of AWS.
fn store_keys(site: &Site, name: &str) -> Vec<(&'static str, OsString)> {
    if !matches!(name, "bridge" | "console") {
        return Vec::new();
    }
    let file = site.layout.store_credentials(name).into_os_string();
    vec![
        ("AWS_SHARED_CREDENTIALS_FILE", file.clone()),
        ("AWS_CONFIG_FILE", file),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ]
}
