//! The watcher against the mock, both in this process: the records of a stream before they are rendered.

use std::time::Duration;

use presencectl::api::{
    ApiError, Auth, Client, ClientSettings, RetryObserver, UpdateChannel, UserPatch,
};
use presencectl::domain::record::{RecordBody, RecordSource};
use presencectl::domain::token::{Claims, sign};
use presencectl::domain::{ApiErrorCode, Cid, SecretString, UserId};
use presencectl::events::{
    ChannelSpec, Observer, WatchError, WatchTarget, Watcher, WatcherOptions, WatcherStep,
};
use presencectl::mock;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::PATIENCE;

struct Server {
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(world: Value) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), &world)
    }

    fn on(listener: TcpListener, world: &Value) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let options = mock::MockOptions {
            api_key: "key".to_owned(),
            secret: SecretString::new("secret"),
            fixture: mock::read_fixture(&world.to_string()).unwrap().fixture,
            ..mock::MockOptions::default()
        };
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            mock::serve(listener, options, stopped).await.unwrap();
        });
        Self { port, stop, task }
    }

    /// Stops, and starts again on the same port with another world.
    async fn restart(self, world: Value) -> Self {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        Self::on(listener, &world)
    }

    fn client(&self, auth: Auth) -> Client {
        Client::new(ClientSettings {
            base_url: format!("http://127.0.0.1:{}", self.port).parse().unwrap(),
            api_key: "key".to_owned(),
            auth,
            allow_http: false,
            timeout: PATIENCE,
            connect_timeout: PATIENCE,
            retries: 3,
            on_retry: RetryObserver::default(),
        })
        .unwrap()
    }

    fn server(&self) -> Client {
        self.client(Auth::Server {
            secret: SecretString::new("secret"),
        })
    }

    /// Opens a connection of a user, or closes all of them.
    async fn control_user(&self, id: &str, action: &str) {
        self.control(&format!("users/{id}/{action}"), &json!({}))
            .await;
    }

    async fn control(&self, path: &str, body: &Value) {
        let path = format!("/_mock/{path}");
        let answer = self
            .server()
            .raw("POST", &path, &[], Some(body))
            .await
            .unwrap();
        assert!(answer.status < 300, "{answer:?}");
    }

    async fn watch(&self, target: WatchTarget) -> Stream {
        Stream::start(self.server(), target, options()).await
    }
}

fn options() -> WatcherOptions {
    WatcherOptions {
        jitter: Box::new(|| 0.0),
        ..WatcherOptions::new(Observer::Dedicated(user("eye")))
    }
}

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn cid(id: &str) -> Cid {
    id.parse().unwrap()
}

fn users(ids: &[&str]) -> WatchTarget {
    WatchTarget {
        users: ids.iter().collect(),
        ..WatchTarget::default()
    }
}

fn channel(id: &str) -> WatchTarget {
    WatchTarget {
        channels: vec![cid(id)],
        ..WatchTarget::default()
    }
}

fn people(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({"id": id})).collect()
}

/// Two people in a channel, and one outside of it.
fn world() -> Value {
    json!({
        "users": people(&["john", "jack", "amy"]),
        "channels": [{"type": "messaging", "id": "c", "members": ["john", "jack"], "created_by_id": "john"}],
    })
}

/// A watcher whose records are shortened to a few words each.
struct Stream {
    watcher: Watcher,
}

impl Stream {
    async fn start(client: Client, target: WatchTarget, options: WatcherOptions) -> Self {
        Self {
            watcher: Watcher::start(client, target, options).await.unwrap(),
        }
    }

    /// Everything up to and with the first record that starts like this.
    async fn until(&mut self, start: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let step = tokio::time::timeout(PATIENCE, self.watcher.step()).await;
            let words = match step.unwrap_or_else(|_| panic!("no `{start}` after {told:#?}")) {
                Ok(WatcherStep::Record(record)) => words(&record.body, record.source),
                Ok(WatcherStep::Notice(text)) => Some(format!("notice {text}")),
                Ok(WatcherStep::Quiet) => None,
                Err(error) => panic!("{error:?} after {told:#?}"),
            };
            if let Some(words) = words {
                let found = words.starts_with(start);
                told.push(words);
                if found {
                    return told;
                }
            }
        }
    }

    async fn end(&mut self) -> WatchError {
        loop {
            match tokio::time::timeout(PATIENCE, self.watcher.step())
                .await
                .unwrap()
            {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

fn words(body: &RecordBody<'_>, source: RecordSource) -> Option<String> {
    Some(match body {
        RecordBody::Event { event, .. } if event.is("health.check") => return None,
        RecordBody::Event { event, change } => {
            let user = event.user.as_ref();
            let resync = if source == RecordSource::Resync {
                "resync "
            } else {
                ""
            };
            let changed: Vec<&str> = change
                .iter()
                .flat_map(|change| change.changed.iter().map(|field| field.name()))
                .collect();
            format!(
                "{resync}{} {} {} {}",
                event.kind,
                user.map_or("-", |user| &user.id),
                user.and_then(|user| user.online)
                    .map_or("-".to_owned(), |online| online.to_string()),
                changed.join("+"),
            )
        }
        RecordBody::Snapshot(user) => format!("snapshot {} {}", user.id(), user.presence().online?),
        RecordBody::ConnectionChanged(changed) => format!("link {}", changed.online),
        RecordBody::ConnectionRecovered => "recovered".to_owned(),
        RecordBody::Gap(gap) => {
            assert!(gap.from <= gap.to, "{gap:?}");
            format!("gap {:?}", gap.repaired)
        }
        RecordBody::Coverage(coverage) => format!(
            "coverage {}/{} {:?}",
            coverage.subscribed, coverage.requested, coverage.missing
        ),
        RecordBody::End(_) => "end".to_owned(),
    })
}

#[tokio::test]
async fn members_come_and_go_and_nothing_is_reported_twice() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(channel("c")).await;
    assert_eq!(
        stream.until("coverage").await,
        [
            "snapshot john false",
            "snapshot jack false",
            "coverage 2/2 []"
        ]
    );
    server.control_user("john", "connect").await;
    server.control_user("john", "connect").await;
    server.control_user("amy", "connect").await;
    server.control_user("john", "disconnect").await;
    server.control_user("jack", "connect").await;
    assert_eq!(
        stream.until("user.presence.changed jack").await,
        [
            "user.presence.changed john true online+last_active",
            // The second connection changed nothing but `last_active`.
            "user.presence.changed john false online+last_active",
            "user.presence.changed jack true online+last_active",
        ]
    );
    stream.watcher.close().await;
}

#[tokio::test]
async fn invisibility_and_status_are_reported() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(users(&["john"])).await;
    stream.until("coverage").await;
    server.control_user("john", "connect").await;
    let patch = |set: Value| {
        let Value::Object(set) = set else {
            panic!("no object")
        };
        [UserPatch {
            id: user("john"),
            set,
            unset: Vec::new(),
        }]
    };
    let client = server.server();
    client
        .patch_users(&patch(json!({"invisible": true})))
        .await
        .unwrap();
    client
        .patch_users(&patch(json!({"invisible": false})))
        .await
        .unwrap();
    client
        .patch_users(&patch(json!({"status": "lunch"})))
        .await
        .unwrap();
    let told = stream.until("user.updated john true status").await;
    let presence: Vec<&String> = told
        .iter()
        .filter(|words| words.contains("presence"))
        .collect();
    assert_eq!(
        presence,
        [
            "user.presence.changed john true online+last_active",
            "user.presence.changed john false online",
            "user.presence.changed john true online",
        ]
    );
}

#[tokio::test]
async fn the_observer_is_an_invisible_admin_and_a_member_of_nothing() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(channel("c")).await;
    stream.until("coverage").await;
    let state = server.server().get_channel(&cid("c")).await.unwrap();
    let members: Vec<_> = state
        .members
        .iter()
        .filter_map(|member| member.id())
        .collect();
    assert_eq!(members, ["john", "jack"]);
    let query = presencectl::api::QueryUsers {
        filter_conditions: Map::from_iter([("id".to_owned(), json!("eye"))]),
        ..Default::default()
    };
    let eye = server.server().query_users(&query).await.unwrap().remove(0);
    assert_eq!(eye.role(), Some("admin"));
    assert_eq!(eye.presence().invisible, Some(true));
    assert_eq!(eye.presence().online, Some(false));
}

#[tokio::test]
async fn every_member_of_a_large_channel_is_covered() {
    let ids: Vec<String> = (0..145).map(|n| format!("u{n:03}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let server = Server::start(json!({
        "users": people(&names),
        "channels": [{"type": "livestream", "id": "big", "members": names[..100], "created_by_id": "u000"}],
    }))
    .await;
    let rest = UpdateChannel {
        add_members: ids[100..].to_vec(),
        ..UpdateChannel::default()
    };
    server
        .server()
        .update_channel(&cid("livestream:big"), &rest)
        .await
        .unwrap();
    let mut stream = server.watch(channel("livestream:big")).await;
    let told = stream.until("coverage").await;
    assert_eq!(told.last().unwrap(), "coverage 145/145 []");
    assert_eq!(told.len(), 146, "one snapshot each");
    for id in &ids {
        server.control_user(id, "connect").await;
    }
    let told = stream.until("user.presence.changed u144").await;
    assert_eq!(told.len(), 145, "{told:#?}");
}

#[tokio::test]
async fn a_restarted_server_causes_a_gap_and_events_for_the_differences() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(channel("c")).await;
    stream.until("coverage").await;
    server.control_user("john", "connect").await;
    stream.until("user.presence.changed john").await;
    let server = server
        .restart(json!({
            "users": [{"id": "john"}, {"id": "jack", "status": "back"}, {"id": "amy", "online": true}],
            "channels": [{"type": "messaging", "id": "c", "members": ["jack", "amy"], "created_by_id": "john"}],
        }))
        .await;
    let told = stream.until("recovered").await;
    // While it stops, the server may still report that john went offline.
    let told: Vec<&String> = told
        .iter()
        .skip_while(|words| !words.starts_with("link"))
        .filter(|words| *words != "link false")
        .collect();
    assert_eq!(told[0], "link true");
    assert_eq!(
        told[1..],
        [
            r#"gap ["jack"]"#,
            "resync user.updated jack false status",
            "snapshot amy true",
            "recovered",
        ]
    );
    server.control_user("jack", "connect").await;
    assert_eq!(
        stream.until("user.presence.changed").await,
        ["user.presence.changed jack true online+last_active"]
    );
}

#[tokio::test]
async fn without_reconnect_a_lost_connection_ends_the_stream() {
    let server = Server::start(world()).await;
    let options = WatcherOptions {
        reconnect: false,
        ..options()
    };
    let mut stream = Stream::start(server.server(), users(&["john"]), options).await;
    stream.until("coverage").await;
    server.stop.send(()).unwrap();
    assert_eq!(stream.until("link").await, ["link false"]);
    let error = stream.end().await;
    assert!(matches!(error, WatchError::Lost(_)), "{error:?}");
}

/// One expired token is replaced. A service that rejects every new token as expired must not be retried for ever.
#[tokio::test]
async fn repeated_rejection_of_new_tokens_ends_the_stream() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(users(&["john"])).await;
    stream.until("coverage").await;
    server
        .control(
            "faults",
            &json!({"kind": "expire", "user": "eye", "now": true}),
        )
        .await;
    stream.until("recovered").await;

    let refused =
        json!({"kind": "status", "path": "/connect", "status": 401, "code": 40, "count": 50});
    server.control("faults", &refused).await;
    server.control_user("eye", "drop").await;
    let error = stream.end().await;
    assert!(
        matches!(&error, WatchError::Api(ApiError::Refused(refusal)) if refusal.code == 40),
        "{error:?}"
    );
}

#[tokio::test]
async fn new_members_are_subscribed_and_removed_members_dropped() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(channel("c")).await;
    stream.until("coverage").await;
    let change = UpdateChannel {
        add_members: vec!["amy".to_owned()],
        remove_members: vec!["jack".to_owned()],
    };
    server
        .server()
        .update_channel(&cid("c"), &change)
        .await
        .unwrap();
    stream.until("snapshot amy").await;
    server.control_user("jack", "connect").await;
    server.control_user("amy", "connect").await;
    let told = stream.until("user.presence.changed").await;
    assert_eq!(
        told.last().unwrap(),
        "user.presence.changed amy true online+last_active"
    );
}

#[tokio::test]
async fn a_channel_is_created_only_on_request() {
    let server = Server::start(world()).await;
    let error = Watcher::start(server.server(), channel("new"), options()).await;
    let error = match error {
        Err(error) => error,
        Ok(watcher) => Stream { watcher }.end().await,
    };
    assert!(
        matches!(&error, WatchError::Api(error) if error.api_code() == Some(ApiErrorCode::NotFound)),
        "{error:?}"
    );
    assert!(server.server().get_channel(&cid("new")).await.is_err());

    let target = WatchTarget {
        create: Some(ChannelSpec {
            members: vec![user("john"), user("amy")],
            data: Map::from_iter([("color".to_owned(), json!("green"))]),
        }),
        ..channel("new")
    };
    let mut stream = server.watch(target.clone()).await;
    let told = stream.until("coverage").await;
    assert_eq!(told.last().unwrap(), "coverage 2/2 []");
    let state = server.server().get_channel(&cid("new")).await.unwrap();
    assert_eq!(state.channel["color"], "green");

    let mut again = server.watch(target).await;
    let told = again.until("coverage").await;
    assert!(
        told[0].starts_with("notice messaging:new exists already"),
        "{told:#?}"
    );
}

#[tokio::test]
async fn a_plain_user_sees_what_they_may_and_gets_the_reason_for_the_rest() {
    let server = Server::start(world()).await;
    let token = |id: &str| Auth::Token {
        user: user(id),
        token: SecretString::new(sign("secret", &Claims::user(id))),
    };
    let options = |id: &str| WatcherOptions {
        observer: Observer::Existing(user(id)),
        ..options()
    };
    let mut stream =
        Stream::start(server.client(token("john")), channel("c"), options("john")).await;
    let told = stream.until("coverage").await;
    assert_eq!(told.last().unwrap(), "coverage 2/2 []");

    let mut stream = Stream::start(server.client(token("amy")), channel("c"), options("amy")).await;
    let error = stream.end().await;
    let WatchError::Api(ApiError::Refused(refusal)) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (refusal.code, refusal.status),
        (ApiErrorCode::NotAllowed, 403)
    );
}

#[tokio::test]
async fn users_who_do_not_exist_are_missing() {
    let server = Server::start(world()).await;
    let mut stream = server.watch(users(&["john", "ghost"])).await;
    assert_eq!(
        stream.until("coverage").await,
        ["snapshot john false", r#"coverage 1/2 ["ghost"]"#]
    );
}

#[tokio::test]
async fn channels_are_found_by_filter() {
    let server = Server::start(world()).await;
    let target = WatchTarget {
        matching: Some(Map::from_iter([(
            "members".to_owned(),
            json!({"$in": ["jack"]}),
        )])),
        ..WatchTarget::default()
    };
    let mut stream = server.watch(target).await;
    let told = stream.until("coverage").await;
    assert_eq!(told.last().unwrap(), "coverage 2/2 []");
}

#[tokio::test]
async fn bad_credentials_fail_at_once() {
    let server = Server::start(world()).await;
    let client = server.client(Auth::Server {
        secret: SecretString::new("wrong"),
    });
    let error = Watcher::start(client, users(&["john"]), options())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WatchError::Api(error) if error.api_code() == Some(ApiErrorCode::TokenSignatureInvalid)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_channel_that_is_deleted_and_created_again_is_watched_again() {
    let server = Server::start(world()).await;
    let options = WatcherOptions {
        retry_missing_after: Duration::from_millis(10),
        ..options()
    };
    let mut stream = Stream::start(server.server(), channel("c"), options).await;
    stream.until("coverage 2/2").await;
    let path = "/channels/messaging/c";
    let deleted = server.server().raw("DELETE", path, &[], None).await;
    assert!(deleted.unwrap().status < 300);
    assert_eq!(
        stream.until("coverage").await,
        ["channel.deleted - - ", "coverage 0/0 []"]
    );
    let create = json!({"data": {"created_by_id": "john", "members": ["john", "amy"]}});
    let path = format!("{path}/query");
    let created = server.server().raw("POST", &path, &[], Some(&create)).await;
    assert!(created.unwrap().status < 300);
    let told = stream.until("coverage 2/2").await;
    assert_eq!(told.last().unwrap(), "coverage 2/2 []", "{told:?}");
    server.control_user("amy", "connect").await;
    stream.until("user.presence.changed amy true").await;
    stream.watcher.close().await;
}
