//! The HTTP side of the mock: which request is which operation, and how its response is written.
//!
//! `RequestHandler` finds the application. Every request passes `body_layer`, which reads what is left of its body. Then
//! it passes `traffic_layer` (records it), `fault_layer` (may replace, delay or break its response) and `dispatch`
//! (authenticates, counts against rate limits, and asks the hub). Requests to `/_mock/` go to `control` directly, those
//! for the page at `/_mock/ui` to `console`. No rule of the service is decided here.

mod body;
mod body_layer;
mod connect;
mod console;
mod context;
mod control;
mod dispatch;
mod fault_layer;
mod longpoll;
mod origin;
mod params;
mod replay;
mod replay_socket;
mod response;
mod traffic_layer;
mod upgrade;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;
use axum::{BoxError, Extension, Router};
use bytes::Bytes;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use self::context::RouteContext;
pub use self::control::{CONTROL_ROUTES, ControlRoute};
pub use self::response::json_for_any_origin;
use super::applications::ApplicationRegistry;
use super::options::CONSOLE_PATH;
use super::tcp::Peer;

/// The start of every path of the control API.
const CONTROL_PREFIX: &str = "/_mock/";

/// Answers requests, each for the application of its API key.
#[derive(Debug, Clone)]
pub(crate) struct RequestHandler {
    applications: Arc<ApplicationRegistry>,
    alive: mpsc::Sender<()>,
    router: TowerToHyperService<Router>,
}

impl RequestHandler {
    /// A handler for the applications of a server. Every session holds `alive`.
    pub(crate) fn new(applications: Arc<ApplicationRegistry>, alive: mpsc::Sender<()>) -> Self {
        Self {
            applications,
            alive,
            router: TowerToHyperService::new(router()),
        }
    }

    /// Answers a request of a client.
    pub(crate) fn handle<B>(
        &self,
        mut request: Request<B>,
        peer: &Peer,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let hub = if request.uri().path().starts_with(CONTROL_PREFIX) {
            // The control API finds the application itself, because some requests are for all of them.
            self.applications.first().clone()
        } else {
            self.applications
                .answering(|| params::api_key(request.uri(), request.headers()))
        };
        let context = RouteContext {
            hub,
            applications: self.applications.clone(),
            alive: self.alive.clone(),
            peer: peer.clone(),
        };
        request.extensions_mut().insert(context);
        self.router.call(request)
    }
}

/// All routes.
fn router() -> Router {
    let service = dispatch::handle
        .layer(middleware::from_fn(fault_layer::apply))
        .layer(middleware::from_fn(traffic_layer::record));
    Router::new()
        .route(&format!("{CONTROL_PREFIX}{{*path}}"), any(control::handle))
        .route(CONSOLE_PATH, any(console::handle))
        .route(&format!("{CONSOLE_PATH}/"), any(console::handle))
        .route(&format!("{CONSOLE_PATH}/{{file}}"), any(console::handle))
        .fallback(service)
        .layer(middleware::from_fn(answer_browser))
        .layer(middleware::from_fn(body_layer::read_to_end))
}

/// Answers what browsers ask by themselves: whether a page may make a request, and what is at `/`.
async fn answer_browser(
    Extension(context): Extension<RouteContext>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::OPTIONS {
        let is_control = request.uri().path().starts_with(CONTROL_PREFIX);
        let has_token = context.hub.options.control_token.is_some();
        return origin::preflight(&request.into_parts().0, is_control, has_token);
    }
    if let Some(page) = console::welcome(&request, &context.hub.options) {
        return page;
    }
    next.run(request).await
}
