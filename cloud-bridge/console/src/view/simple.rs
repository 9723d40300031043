//! Owns the small pages: login, sign-ins and processes, and what is said when a page cannot be shown.

use askama::Template;
use results::AuditRow;

use super::{
    format,
    page::{Notice, Page},
};
use crate::{live::LiveDevice, texts::Texts};

/// The login page.
#[derive(Debug, Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) form_token: String,
    /// Where to go after it.
    pub(crate) next: String,
    /// What was typed before.
    pub(crate) name: String,
    pub(crate) problem: Option<String>,
    /// There is nobody who could log in yet.
    pub(crate) no_users: bool,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditLine {
    pub(crate) time: String,
    pub(crate) event: &'static str,
    pub(crate) name: String,
    pub(crate) address: String,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessLine {
    pub(crate) name: String,
    pub(crate) presence: &'static str,
    pub(crate) class: &'static str,
    pub(crate) age: String,
    pub(crate) software: String,
}

/// Sign-ins and processes.
#[derive(Debug, Template)]
#[template(path = "audit.html")]
pub(crate) struct AuditPage {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) notices: Vec<Notice>,
    pub(crate) lines: Vec<AuditLine>,
    pub(crate) processes: Vec<ProcessLine>,
}

pub(crate) fn audit_lines(t: &'static Texts, rows: &[AuditRow]) -> Vec<AuditLine> {
    let line = |row: &AuditRow| AuditLine {
        time: format::time(row.at),
        event: t.of_event(row.event),
        name: row.name.clone(),
        address: row.address.clone(),
    };
    rows.iter().map(line).collect()
}

pub(crate) fn process_lines(t: &'static Texts, devices: &[LiveDevice]) -> Vec<ProcessLine> {
    let line = |device: &LiveDevice| ProcessLine {
        name: device.identity.device(),
        presence: t.of_presence(device.presence),
        class: match device.presence {
            proto::control::Presence::Online => "good",
            proto::control::Presence::Offline => "bad",
        },
        age: t.ago(device.age),
        software: device.software.clone(),
    };
    devices.iter().map(line).collect()
}

/// What is said when a page cannot be shown.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) lead: &'static str,
}
