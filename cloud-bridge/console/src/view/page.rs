//! Owns what every page has: title, who is signed in, when it was made, what must be told first.

use proto::UtcTime;

use super::format;
use crate::texts::{EN, Texts};

/// Seconds between two looks of an open page: new frames appear within this time.
const REFRESH_S: u32 = 4;

/// Where in the navigation a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    SignIns,
    Elsewhere,
}

/// Something that an operator must know, above everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    /// Small print: what exactly.
    pub(crate) detail: Option<String>,
}

/// What every page has.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) t: &'static Texts,
    pub(crate) title: String,
    pub(crate) site: String,
    pub(crate) place: Place,
    /// Name of the user and token of their forms.
    pub(crate) user: Option<(String, String)>,
    pub(crate) made: String,
    pub(crate) made_iso: String,
    /// 0: the page does not change.
    pub(crate) refresh_s: u32,
    /// Changes with the style and the script, so that browsers may keep them.
    pub(crate) assets: &'static str,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, site: &str, now: UtcTime) -> Self {
        Self {
            t: &EN,
            title: title.into(),
            site: site.to_owned(),
            place: Place::Elsewhere,
            user: None,
            made: format::time(now),
            made_iso: now.to_string(),
            refresh_s: 0,
            assets: crate::web::assets_version(),
        }
    }

    pub(crate) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    pub(crate) fn live(self) -> Self {
        Self { refresh_s: REFRESH_S, ..self }
    }

    pub(crate) fn signed_in(self, name: &str, form_token: String) -> Self {
        Self { user: Some((name.to_owned(), form_token)), ..self }
    }
}
