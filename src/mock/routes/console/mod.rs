//! The console: a page at `/_mock/ui` that shows a person what is in the server, and lets them change it.
//!
//! The page holds no data. It asks the control API, with the same checks as every other caller. Its policy allows its own
//! files and requests to its own server, and nothing else.

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use super::context::RouteContext;
use super::control;
use super::origin;
use super::params::Params;
use crate::mock::error::Rejection;
use crate::mock::options::{CONSOLE_PATH, MockOptions};

/// A file of the console: its path below [`CONSOLE_PATH`], its type, and its content.
struct ConsoleFile {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";

const fn script(path: &'static str, content: &'static str) -> ConsoleFile {
    ConsoleFile {
        path,
        content_type: "text/javascript; charset=utf-8",
        content,
    }
}

const FILES: &[ConsoleFile] = &[
    ConsoleFile {
        path: "",
        content_type: HTML,
        content: include_str!("console.html"),
    },
    script("/console.js", include_str!("console.js")),
    script("/api.js", include_str!("api.js")),
    script("/dom.js", include_str!("dom.js")),
    script("/users.js", include_str!("users.js")),
    script("/log.js", include_str!("log.js")),
    script("/commands.js", include_str!("commands.js")),
    script("/faults.js", include_str!("faults.js")),
    script("/clock.js", include_str!("clock.js")),
    script("/scenarios.js", include_str!("scenarios.js")),
    ConsoleFile {
        path: "/console.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("console.css"),
    },
    ConsoleFile {
        path: "/icon.svg",
        content_type: "image/svg+xml",
        content: include_str!("icon.svg"),
    },
];

/// The page at `/`, which leads to the console.
const WELCOME: ConsoleFile = ConsoleFile {
    path: "",
    content_type: HTML,
    content: include_str!("welcome.html"),
};

/// The headers of every file. With trusted types, no text can become part of the page other than as text.
const HEADERS: &[(HeaderName, &str)] = &[
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    // The next server on this port may have another console.
    (header::CACHE_CONTROL, "no-store"),
];

impl ConsoleFile {
    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.content));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type),
        );
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Answers a request for a file of the console.
///
/// A browser that opens the page cannot send the control token, so no file needs it. The page sends it with its requests.
pub(super) async fn handle(
    Extension(context): Extension<RouteContext>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let options = &context.hub.options;
    let origin = if options.control_token.is_some() {
        origin::check_control(&parts, true)
    } else {
        control::check_access(&parts, &Params::of(&parts), &context.peer, None)
    };
    if let Err(reject) = origin {
        return control::respond(Err(reject), None);
    }
    let path = parts.uri.path();
    let below = path.strip_prefix(CONSOLE_PATH).unwrap_or_default();
    let file = FILES
        .iter()
        .find(|file| file.path == below.trim_end_matches('/'))
        .filter(|_| options.has_console && is_read(&parts.method));
    file.map_or_else(
        || {
            let path: String = path.chars().take(200).collect();
            let unknown = format!("there is no {} {path}", parts.method);
            control::respond(Err(Rejection::not_found(unknown)), None)
        },
        ConsoleFile::response,
    )
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Shows a browser that opens `/` where the console is. Everybody else gets the answer of the service.
pub(super) fn welcome(request: &Request, options: &MockOptions) -> Option<Response<Body>> {
    let is_welcome = options.has_console
        && request.uri().path() == "/"
        && is_read(request.method())
        && accepts_html(request.headers());
    is_welcome.then(|| WELCOME.response())
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
