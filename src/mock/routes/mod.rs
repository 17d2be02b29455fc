//! The HTTP side of the mock: which request is which operation, and how its response is written.
//!
//! Every request passes `body_layer`, which reads what is left of its body. Then a request passes `traffic_layer` (records it), `fault_layer` (may replace, delay or break its response) and
//! `dispatch` (authenticates, counts against rate limits, and asks the hub). Requests to `/_mock/` go to `control`
//! directly. No rule of the service is decided here.

mod body;
mod body_layer;
mod connect;
mod context;
mod control;
mod dispatch;
mod fault_layer;
mod longpoll;
mod origin;
mod params;
mod response;
mod traffic_layer;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;

pub(crate) use self::context::RouteContext;

/// All routes.
pub(crate) fn router(context: RouteContext) -> Router {
    let service = dispatch::handle
        .layer(middleware::from_fn_with_state(
            context.clone(),
            fault_layer::apply,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            traffic_layer::record,
        ));
    Router::new()
        .route("/_mock/{*path}", any(control::handle))
        .fallback(service)
        .layer(middleware::from_fn_with_state(
            context.clone(),
            answer_preflight,
        ))
        .layer(middleware::from_fn_with_state(
            context.clone(),
            body_layer::read_to_end,
        ))
        .with_state(context)
}

/// Answers what a browser asks before it lets a page make a request.
async fn answer_preflight(
    State(context): State<RouteContext>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::OPTIONS {
        let is_control = request.uri().path().starts_with("/_mock/");
        let has_token = context.hub.options.control_token.is_some();
        return origin::preflight(&request.into_parts().0, is_control, has_token);
    }
    next.run(request).await
}
