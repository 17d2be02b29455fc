//! What all request handlers share.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::applications::ApplicationRegistry;
use super::super::hub::Hub;
use super::super::tcp::Peer;

/// What a request handler knows beside the request itself. It is one of the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct RouteContext {
    /// The application that answers.
    pub(crate) hub: Arc<Hub>,
    /// All applications of the server.
    pub(crate) applications: Arc<ApplicationRegistry>,
    /// Held by every session, so that the server can wait for the last one.
    pub(crate) alive: mpsc::Sender<()>,
    /// The client.
    pub(crate) peer: Peer,
}
