//! Traces of calls for `-v` and `-vv`: a line with method, path, status and time, then headers and bodies.
//!
//! Lines that start with `>` show what was sent, lines with `<` what was received, and lines with `*` what happened to
//! connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::api::ApiError;
use crate::api::redact::Redactor;

/// The number of `-v` from which headers and bodies are shown.
const BODIES_VERBOSITY: u8 = 2;
/// The largest number of shown characters of a body.
const SHOWN_BODY_MAX: usize = 16 * 1024;

/// Writes one line per call, and optionally its headers and bodies. The default writes nothing.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    verbosity: u8,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

/// The traced request.
pub(super) struct Sent<'a> {
    pub(super) summary: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Option<&'a str>,
}

/// The traced response.
pub(super) struct Received<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Tracer {
    /// Writes lines with `write`. Writes nothing at verbosity 0.
    pub fn new(verbosity: u8, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self((verbosity > 0).then(|| {
            Arc::new(Inner {
                verbosity,
                write: Box::new(write),
            })
        }))
    }

    /// Whether anything is written. Otherwise nothing needs to be prepared.
    pub(super) const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a line about a WebSocket connection, such as `amy disconnected: …`.
    pub fn connection(&self, change: impl FnOnce() -> String) {
        if let Some(inner) = &self.0 {
            let redactor = Redactor::default();
            (inner.write)(&format!("* {}", redactor.body(&change())));
        }
    }

    /// Writes a call that ended after `took`.
    pub(super) fn call(
        &self,
        redactor: &Redactor<'_>,
        sent: &Sent<'_>,
        took: Duration,
        result: Result<Received<'_>, &ApiError>,
    ) {
        let Some(inner) = &self.0 else {
            return;
        };
        let write = |line: &str| (inner.write)(line);
        let millis = took.as_millis();
        let outcome = match &result {
            Ok(response) => response.status.to_string(),
            Err(error) => format!("failed ({})", redactor.body(&error.to_string())),
        };
        write(&format!("> {} {outcome} {millis} ms", sent.summary));
        if inner.verbosity < BODIES_VERBOSITY {
            return;
        }
        for (name, value) in &sent.query {
            write(&format!(">   ?{name}={}", redactor.named(name, value)));
        }
        for line in header_lines(redactor, sent.headers) {
            write(&format!(">   {line}"));
        }
        if let Some(body) = sent.body {
            write(&format!(">   {}", cut(redactor.body(body))));
        }
        if let Ok(response) = result {
            for line in header_lines(redactor, response.headers) {
                write(&format!("<   {line}"));
            }
            let body = String::from_utf8_lossy(response.body);
            write(&format!("<   {}", cut(redactor.body(body.trim()))));
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbosity = self.0.as_ref().map_or(0, |inner| inner.verbosity);
        f.debug_struct("Tracer")
            .field("verbosity", &verbosity)
            .finish()
    }
}

fn header_lines(redactor: &Redactor<'_>, headers: &HeaderMap) -> Vec<String> {
    let lines = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {}", redactor.named(name.as_str(), &value))
    });
    lines.collect()
}

/// The first part of a body that is too long to show.
fn cut(body: String) -> String {
    match body.char_indices().nth(SHOWN_BODY_MAX) {
        None => body,
        Some((end, _)) => format!("{}… ({} bytes in all)", &body[..end], body.len()),
    }
}
