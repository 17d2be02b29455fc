//! The presence step of `doctor`: creates two temporary users; one comes online, the other must receive the event.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::report::{DoctorReport, Step};
use crate::api::{ApiError, Client, QueryUsers, Request};
use crate::domain::{Event, UserId};
use crate::events::connect::QUIET_READ_BUFFER_BYTES;
use crate::events::session::STALE_AFTER;
use crate::events::{Frame, Identity, Socket, connect};
use crate::exit::{Code, Failure};

/// How long to wait for the presence event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the service accepts the server credentials.
pub(super) async fn try_credentials(server: &Client) -> anyhow::Result<()> {
    let query = QueryUsers {
        limit: Some(1),
        ..QueryUsers::default()
    };
    server.query_users(&query).await?;
    Ok(())
}

/// The two temporary users.
pub(super) struct PresenceCheck {
    server: Client,
    watcher: UserId,
    subject: UserId,
    /// Whether they may exist and must be deleted.
    made: bool,
}

impl PresenceCheck {
    pub(super) fn new(server: Client) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let user = |part: &str| -> UserId {
            format!("presencectl-doctor-{part}-{}", &id[..12])
                .parse()
                .expect("letters, digits and dashes are a user id")
        };
        Self {
            server,
            watcher: user("watcher"),
            subject: user("subject"),
            made: false,
        }
    }

    /// Checks the token, the socket and presence.
    pub(super) async fn check(&mut self, report: &mut DoctorReport<'_>) -> anyhow::Result<()> {
        if let Err(error) = self.try_token().await {
            return report.failed(Step::Token, &error);
        }
        report.ok(Step::Token, "a token signed here is accepted")?;
        let mut socket = match self.open_socket().await {
            Ok(socket) => socket,
            Err(error) => return report.failed(Step::Socket, &error),
        };
        report.ok(Step::Socket, "connected, and the first health check came")?;
        match self.see_presence(&mut socket).await {
            Ok(took) => report.ok(
                Step::Presence,
                format!(
                    "user.presence.changed came {} ms after connecting",
                    took.as_millis()
                ),
            )?,
            Err(error) => report.failed(Step::Presence, &error)?,
        }
        socket.close().await;
        Ok(())
    }

    /// Deletes the users that were created.
    pub(super) async fn remove(&self, report: &mut DoctorReport<'_>) -> anyhow::Result<()> {
        if !self.made {
            return Ok(());
        }
        let mut left = Vec::new();
        let mut error = None;
        for user in [&self.subject, &self.watcher] {
            let request = Request::delete_user(user, true);
            if let Err(failure) = self.server.change_user(&request).await {
                left.push(user.as_str());
                error = Some(failure);
            }
        }
        match error {
            None => report.ok(Step::Cleanup, "the two users are deleted"),
            Some(error) => {
                let hint = format!("presencectl delete-user {} --hard -y", left.join(" "));
                let failure = Failure::new(
                    Code::Unexpected,
                    format!("cannot delete {}: {error}", left.join(" and ")),
                );
                report.failed(Step::Cleanup, &failure.hinted(hint).into())
            }
        }
    }

    async fn try_token(&mut self) -> anyhow::Result<()> {
        let user = |id: &UserId, role: &str| -> Map<String, Value> {
            Map::from_iter([
                ("id".to_owned(), json!(id)),
                ("role".to_owned(), json!(role)),
                ("name".to_owned(), json!("presencectl doctor")),
            ])
        };
        // The users may exist even if the response was lost.
        self.made = true;
        self.server
            .upsert_users(&[user(&self.watcher, "admin"), user(&self.subject, "user")])
            .await
            .context("cannot make users")?;
        let query = self.query_subject(None);
        let users = self
            .server
            .acting_as(&self.watcher)
            .query_users(&query)
            .await?;
        if users.iter().any(|user| user.id() == self.subject.as_str()) {
            Ok(())
        } else {
            Err(Failure::new(
                Code::Unexpected,
                "a user that was just made is not found by another one",
            )
            .hinted("multi-tenancy or permissions may hide users from each other; check the application's settings")
            .into())
        }
    }

    async fn connect(&self, user: &UserId, invisible: Option<bool>) -> Result<Socket, ApiError> {
        connect(
            &self.server,
            &identity(user, invisible),
            QUIET_READ_BUFFER_BYTES,
            STALE_AFTER,
        )
        .await
    }

    async fn open_socket(&self) -> anyhow::Result<Socket> {
        Ok(self.connect(&self.watcher, Some(true)).await?)
    }

    /// Connects the subject and waits until the watcher receives the event.
    async fn see_presence(&self, socket: &mut Socket) -> anyhow::Result<Duration> {
        let query = self.query_subject(Some(socket.connection_id()));
        self.server
            .acting_as(&self.watcher)
            .query_users(&query)
            .await?;
        let start = Instant::now();
        let subject = self.connect(&self.subject, None).await?;
        let received = timeout(EVENT_TIMEOUT, wait_until_online(socket, &self.subject)).await;
        subject.close().await;
        match received {
            Ok(received) => received.map(|()| start.elapsed()),
            Err(_) => Err(Failure::new(
                Code::TimedOut,
                format!("no user.presence.changed came within {} s", EVENT_TIMEOUT.as_secs()),
            )
            .hinted("try again; if it persists, watchers of this application miss changes: report it to the service's support")
            .into()),
        }
    }

    fn query_subject(&self, connection_id: Option<&str>) -> QueryUsers {
        QueryUsers {
            filter_conditions: Map::from_iter([("id".to_owned(), json!(self.subject))]),
            limit: Some(1),
            presence: connection_id.is_some(),
            connection_id: connection_id.map(str::to_owned),
            ..QueryUsers::default()
        }
    }
}

fn identity(user: &UserId, invisible: Option<bool>) -> Identity {
    Identity {
        user: user.clone(),
        invisible,
        details: Map::new(),
    }
}

/// Waits for an event on a socket that shows a user as online.
async fn wait_until_online(socket: &mut Socket, user: &UserId) -> anyhow::Result<()> {
    loop {
        let frame = socket.next().await.map_err(|end| {
            Failure::new(
                Code::StreamLost,
                format!("the watcher's socket ended: {end}"),
            )
        })?;
        let Frame::Text(text) = frame else {
            continue;
        };
        if let Ok(event) = Event::parse(&text)
            && event.is("user.presence.changed")
            && let Some(about) = &event.user
            && about.id == user.as_str()
            && about.online == Some(true)
        {
            return Ok(());
        }
    }
}
