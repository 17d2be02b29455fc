//! Operations on users: query, upsert, partial update.

use std::collections::HashMap;
use std::ops::Bound;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::domain::UserId;
use crate::mock::engine::data::connection::SubscriptionSource;
use crate::mock::engine::data::filter::QueryFilter;
use crate::mock::engine::data::requests::{
    CreateGuestRequest, QueryUsersRequest, Reply, UpdateUsersPartialRequest, UpdateUsersRequest,
    UserBatch,
};
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::sort::{SortOrder, page};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::UserShape;
use crate::mock::engine::data::user_fields::UserFields;
use crate::mock::engine::data::user_view::{self, UserView};
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::engine::rules::user_changes::user_id;
use crate::mock::error::Rejection;

/// How many users one call may change.
pub(crate) const MAX_USERS_PER_CALL: usize = 100;
/// The largest page of users, and the largest offset.
const MAX_USER_PAGE: usize = 100;
const MAX_USER_OFFSET: usize = 1000;

#[derive(Serialize)]
struct UserListResponse<'a> {
    users: Vec<UserView<'a>>,
}

#[derive(Serialize)]
struct UserMapResponse<'a> {
    #[serde(serialize_with = "by_id")]
    users: Vec<UserView<'a>>,
    membership_deletion_task_id: &'static str,
}

fn by_id<S: serde::Serializer>(
    users: &Vec<UserView<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(users.len()))?;
    for view in users {
        map.serialize_entry(&*view.user.id, view)?;
    }
    map.end()
}

impl ServiceState {
    pub(crate) fn query_users(
        &mut self,
        actor: &Actor,
        query: &QueryUsersRequest,
    ) -> Result<Reply, Rejection> {
        actor.not_anonymous("SearchUser")?;
        let filter = QueryFilter::parse(&query.filter_conditions, user_view::schema)?;
        actor.require_team_filter(&self.app, &filter, "teams")?;
        let sort = SortOrder::parse(&query.sort)?;
        let (limit, offset) = page(
            query.limit,
            query.offset,
            self.rules.query_users_default_limit,
            MAX_USER_PAGE,
            MAX_USER_OFFSET,
        )?;
        let subscriber = if query.presence {
            Some(self.live_connection(actor, query.connection_id.as_deref())?)
        } else {
            None
        };
        let viewer = actor.viewer();
        let wanted = |key: &UserKey| {
            let view = self.view(*key, viewer, UserShape::Full);
            let user = view.user;
            user.deleted_at.is_none()
                && !user.is_anonymous()
                && (query.include_deactivated_users || user.deactivated_at.is_none())
                && filter.matches(&view)
        };
        let found: Vec<UserKey> = self.find_users(&filter, &sort, viewer, wanted, limit, offset);
        if let Some(subscriber) = subscriber {
            for key in found.iter().take(self.rules.presence_cap_users) {
                self.subscribe(subscriber, *key, SubscriptionSource::Users);
            }
        }
        Ok(Reply::new(&UserListResponse {
            users: found
                .iter()
                .map(|key| self.view(*key, viewer, UserShape::Full))
                .collect(),
        }))
    }

    /// One page of users. Ids and pages by id are answered from the indexes; without a sort the newest come first.
    fn find_users(
        &self,
        filter: &QueryFilter,
        sort: &SortOrder,
        viewer: crate::mock::engine::data::user::Viewer,
        wanted: impl Fn(&UserKey) -> bool,
        limit: usize,
        offset: usize,
    ) -> Vec<UserKey> {
        let sorted = |mut keys: Vec<UserKey>| {
            if sort.is_empty() {
                keys.sort_unstable_by(|a, b| b.cmp(a));
            } else {
                keys.sort_by(|a, b| {
                    sort.compare(
                        &self.view(*a, viewer, UserShape::Full),
                        &self.view(*b, viewer, UserShape::Full),
                    )
                });
            }
            keys.into_iter().skip(offset).take(limit).collect()
        };
        if let Some(ids) = filter.ids("id") {
            return sorted(
                ids.into_iter()
                    .filter_map(|id| self.user_ids.get(id).copied())
                    .filter(|key| wanted(key))
                    .collect(),
            );
        }
        if let Some(descending) = sort.is_by("id") {
            let (first, last) = filter.id_range();
            if is_empty(first, last) {
                return Vec::new();
            }
            let range = self.user_order.range::<str, _>((first, last));
            let keys = range.map(|(_, key)| *key);
            return if descending {
                keys.rev().filter(wanted).skip(offset).take(limit).collect()
            } else {
                keys.filter(wanted).skip(offset).take(limit).collect()
            };
        }
        let newest_first = self.users.iter().rev().map(|(key, _)| key);
        if sort.is_empty() {
            newest_first
                .filter(wanted)
                .skip(offset)
                .take(limit)
                .collect()
        } else {
            sorted(newest_first.filter(wanted).collect())
        }
    }

    pub(crate) fn update_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        batch: UpdateUsersRequest,
    ) -> Result<Reply, Rejection> {
        actor.not_anonymous("UpdateUser")?;
        let users = match batch.users {
            UserBatch::Map(map) => {
                let mut users = Vec::with_capacity(map.len());
                for (key, user) in map {
                    let serde_json::Value::Object(user) = user else {
                        return Err(Rejection::field(
                            format!("users[{key}]"),
                            "must be an object",
                        ));
                    };
                    match user.get("id").and_then(|id| id.as_str()) {
                        Some(id) if id == key => users.push(user),
                        Some(_) => {
                            return Err(Rejection::field(
                                format!("users[{key}].id"),
                                "must be equal to the key",
                            ));
                        }
                        None => {
                            return Err(Rejection::field(
                                format!("users[{key}].id"),
                                "is a required field",
                            ));
                        }
                    }
                }
                users
            }
            UserBatch::List(users) => users,
        };
        check_batch(users.len())?;
        let merge = self.rules.upsert_merges;
        let limit = self.rules.custom_data_limit;
        let mut changes = UserChanges::default();
        for user in &users {
            let id = user
                .get("id")
                .and_then(|id| id.as_str())
                .ok_or_else(|| Rejection::field("users.id", "is a required field"))?;
            let id = user_id(id)?;
            self.check_own(actor, id.as_str())?;
            if let Some((_, user)) = self.user(id.as_str())
                && user.deleted_at.is_some()
            {
                return Err(Rejection::input(format!(
                    "users[{}] was deleted and has to be restored first",
                    id.as_str()
                )));
            }
            let before = changes
                .current(self, id.as_str())
                .unwrap_or_else(|| UserFields::new("user"));
            let after = before.replaced(id.as_str(), user, actor.writer(), merge, limit)?;
            changes.put(id, after);
        }
        Ok(self.commit(now, actor, changes))
    }

    pub(crate) fn update_users_partial(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        batch: &UpdateUsersPartialRequest,
    ) -> Result<Reply, Rejection> {
        actor.not_anonymous("UpdateUser")?;
        check_batch(batch.users.len())?;
        let limit = self.rules.custom_data_limit;
        let mut changes = UserChanges::default();
        for patch in &batch.users {
            let id = user_id(&patch.id)?;
            self.check_own(actor, id.as_str())?;
            let before = changes.current(self, id.as_str()).ok_or_else(|| {
                Rejection::not_found(format!("user {:?} was not found", id.as_str()))
            })?;
            let after =
                before.patched(id.as_str(), &patch.set, &patch.unset, actor.writer(), limit)?;
            changes.put(id, after);
        }
        Ok(self.commit(now, actor, changes))
    }

    /// `POST /guest`. The token is signed where the secret is.
    pub(crate) fn create_guest(
        &mut self,
        now: DateTime<Utc>,
        request: &CreateGuestRequest,
    ) -> Result<Reply, Rejection> {
        #[derive(Serialize)]
        struct GuestResponse<'a> {
            user: UserView<'a>,
        }
        if self.app.guest_user_creation_disabled {
            return Err(Rejection::forbidden(
                "this application does not allow guests",
            ));
        }
        let id = request
            .user
            .get("id")
            .and_then(|id| id.as_str())
            .ok_or_else(|| Rejection::field("user.id", "is a required field"))?;
        // The service makes the id unique, so that a guest never takes the id of somebody else.
        let id = user_id(&format!("guest-{}-{id}", self.ids.next(now)))?;
        let mut details = request.user.clone();
        details.shift_remove("id");
        let profile = UserFields::new("guest").connected(&details, self.rules.custom_data_limit)?;
        let key = self.insert_user(now, id.as_str(), profile);
        let reply = Reply::new(&GuestResponse {
            user: self.view(
                key,
                crate::mock::engine::data::user::Viewer::User(key),
                UserShape::Updated,
            ),
        });
        Ok(Reply {
            token_for: Some(id.into()),
            ..reply
        })
    }

    /// A client may change nobody but themself.
    fn check_own(&self, actor: &Actor, id: &str) -> Result<(), Rejection> {
        if actor.server || actor.role == "admin" || actor.id.as_deref() == Some(id) {
            return Ok(());
        }
        Err(actor.denied("UpdateUser", ".app"))
    }

    /// Writes checked changes, and tells of each that is one.
    fn commit(&mut self, now: DateTime<Utc>, actor: &Actor, changes: UserChanges) -> Reply {
        let mut keys = Vec::with_capacity(changes.order.len());
        for id in changes.order {
            let profile = changes
                .profiles
                .get(id.as_str())
                .expect("every id in order has a profile")
                .clone();
            let key = match self.user_ids.get(id.as_str()) {
                Some(key) => {
                    let key = *key;
                    self.change_profile(now, key, profile);
                    key
                }
                None => self.insert_user(now, id.as_str(), profile),
            };
            keys.push(key);
        }
        let viewer = match actor.viewer() {
            // A client that has just created themself sees themself.
            crate::mock::engine::data::user::Viewer::Other => {
                actor.id.as_deref().and_then(|id| self.user(id)).map_or(
                    crate::mock::engine::data::user::Viewer::Other,
                    |(key, _)| crate::mock::engine::data::user::Viewer::User(key),
                )
            }
            viewer => viewer,
        };
        Reply::new(&UserMapResponse {
            users: keys
                .iter()
                .map(|key| self.view(*key, viewer, UserShape::Full))
                .collect(),
            membership_deletion_task_id: "",
        })
    }
}

/// Whether a range holds nothing, which the ordered map would not forgive.
fn is_empty(first: Bound<&str>, last: Bound<&str>) -> bool {
    match (first, last) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(first), Bound::Included(last)) => first > last,
        (
            Bound::Included(first) | Bound::Excluded(first),
            Bound::Included(last) | Bound::Excluded(last),
        ) => first >= last,
    }
}

/// Refuses batches that are empty or too large.
pub(crate) fn check_batch(count: usize) -> Result<(), Rejection> {
    if count == 0 || count > MAX_USERS_PER_CALL {
        return Err(Rejection::field(
            "users",
            &format!("must hold between 1 and {MAX_USERS_PER_CALL} users, not {count}"),
        ));
    }
    Ok(())
}

/// Profiles that a batch will write, each user once, later items on top of earlier ones.
#[derive(Default)]
struct UserChanges {
    order: Vec<UserId>,
    profiles: HashMap<String, UserFields>,
}

impl UserChanges {
    fn current(&self, state: &ServiceState, id: &str) -> Option<UserFields> {
        self.profiles.get(id).cloned().or_else(|| {
            let (_, user) = state.user(id)?;
            user.deleted_at.is_none().then(|| user.profile.clone())
        })
    }

    fn put(&mut self, id: UserId, profile: UserFields) {
        if self
            .profiles
            .insert(id.as_str().to_owned(), profile)
            .is_none()
        {
            self.order.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::test_support::{TestState, op, user};
    use crate::mock::options::MockRules;

    fn ids(answer: &Value) -> Vec<&str> {
        answer["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["id"].as_str().unwrap())
            .collect()
    }

    fn numbered(count: usize) -> TestState {
        let mut stage = TestState::new();
        let names: Vec<String> = (0..count).map(|n| format!("u{n:03}")).collect();
        stage.users(&names.iter().map(String::as_str).collect::<Vec<_>>());
        stage
    }

    fn query(stage: &mut TestState, body: Value) -> Value {
        stage.apply(&user("u000"), op("GET /users", body)).unwrap()
    }

    #[test]
    fn pages_have_the_services_sizes() {
        let mut stage = numbered(150);
        let all = query(&mut stage, json!({"filter_conditions": {}}));
        assert_eq!(ids(&all).len(), 30);
        assert_eq!(ids(&all)[0], "u149", "the newest come first");
        let page = query(
            &mut stage,
            json!({"filter_conditions": {"id": {"$gt": "u097"}}, "sort": [{"field": "id"}], "limit": 100}),
        );
        assert_eq!(ids(&page).len(), 52);
        assert_eq!(ids(&page)[0], "u098");
        let page = query(
            &mut stage,
            json!({"filter_conditions": {}, "sort": [{"field": "id", "direction": -1}], "limit": 2, "offset": 10}),
        );
        assert_eq!(ids(&page), ["u139", "u138"]);
        for body in [
            json!({"limit": 101}),
            json!({"offset": 1001}),
            json!({"limit": -1}),
        ] {
            let reject = stage
                .apply(&user("u000"), op("GET /users", body))
                .unwrap_err();
            assert_eq!(reject.code, 4);
        }
        let nothing = json!({"filter_conditions": {"id": {"$gt": "z", "$lt": "a"}}, "sort": [{"field": "id"}]});
        assert!(ids(&query(&mut stage, nothing)).is_empty());
    }

    #[test]
    fn a_users_query_covers_no_more_than_its_cap() {
        let mut stage = numbered(40);
        let watcher = stage.connect("u000");
        let all: Vec<String> = (1..40).map(|n| format!("u{n:03}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let answer = stage.subscribe("u000", watcher, &all);
        assert_eq!(ids(&answer).len(), 39);
        for id in &all {
            stage.connect(id);
        }
        let heard = stage.take(watcher).len();
        assert_eq!(heard, 30);
    }

    #[test]
    fn one_bad_user_fails_the_batch_whole() {
        let mut stage = TestState::new();
        let body = json!({"users": {"a": {"id": "a"}, "b": {"id": "b", "online": true}}});
        let reject = stage
            .apply(&Caller::Server, op("POST /users", body))
            .unwrap_err();
        assert_eq!(reject.detail, "users[b].online is a reserved field");
        assert_eq!(stage.state.counts().0, 0);

        stage.users(&["a"]);
        let body =
            json!({"users": [{"id": "a", "set": {"x": 1}}, {"id": "ghost", "set": {"x": 1}}]});
        let reject = stage
            .apply(&Caller::Server, op("PATCH /users", body))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (404, 16));
        let (_, a) = stage.state.user("a").unwrap();
        assert!(a.profile.custom().is_empty());
    }

    #[test]
    fn a_batch_holds_at_most_a_hundred() {
        let mut stage = TestState::new();
        let users: serde_json::Map<String, Value> = (0..101)
            .map(|n| (format!("u{n}"), json!({"id": format!("u{n}")})))
            .collect();
        let reject = stage
            .apply(&Caller::Server, op("POST /users", json!({"users": users})))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (400, 4));
    }

    #[test]
    fn a_client_changes_himself_and_nobody_else() {
        let mut stage = TestState::new();
        stage.users(&["a", "b"]);
        let patch =
            |id: &str, set: Value| op("PATCH /users", json!({"users": [{"id": id, "set": set}]}));
        let answer = stage
            .apply(
                &user("a"),
                patch("a", json!({"status": "here", "invisible": true})),
            )
            .unwrap();
        assert_eq!(answer["users"]["a"]["status"], "here");
        assert_eq!(answer["users"]["a"]["invisible"], true);
        let reject = stage
            .apply(&user("a"), patch("b", json!({"x": 1})))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (403, 17));
        let reject = stage
            .apply(&user("a"), patch("a", json!({"role": "admin"})))
            .unwrap_err();
        assert_eq!((reject.status, reject.code), (403, 17));
    }

    #[test]
    fn updates_reach_subscribers_and_own_connections_once_and_only_if_something_changed() {
        let mut stage = TestState::new();
        stage.users(&["b"]);
        let watcher = stage.connect("a");
        stage.subscribe("a", watcher, &["b"]);
        let own = stage.connect("b");
        stage.take(watcher);
        let patch = op(
            "PATCH /users",
            json!({"users": [{"id": "b", "set": {"status": "out"}}]}),
        );
        stage.apply(&Caller::Server, patch.clone()).unwrap();
        assert_eq!(stage.heard(watcher), ["user.updated b"]);
        assert_eq!(stage.heard(own), ["user.updated b"]);
        stage.apply(&Caller::Server, patch).unwrap();
        assert!(stage.heard(watcher).is_empty());
    }

    #[test]
    fn status_can_count_as_presence() {
        let mut stage = TestState::with(MockRules {
            status_sends_presence: true,
            ..MockRules::default()
        });
        stage.users(&["b"]);
        let watcher = stage.connect("a");
        stage.subscribe("a", watcher, &["b"]);
        let patch = op(
            "PATCH /users",
            json!({"users": [{"id": "b", "set": {"status": "away"}}]}),
        );
        stage.apply(&Caller::Server, patch).unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed b false", "user.updated b"]
        );
    }

    #[test]
    fn a_guest_gets_an_id_of_their_own() {
        let mut stage = TestState::new();
        stage.users(&["real"]);
        let guest = |id: &str| {
            let user = json!({"id": id, "name": "G", "role": "admin"});
            op("POST /guest", json!({ "user": user }))
        };
        let nobody = Caller::Anonymous { id: None };
        let answer = stage.apply(&nobody, guest("real")).unwrap();
        assert_eq!(answer["user"]["role"], "guest");
        let id = answer["user"]["id"].as_str().unwrap();
        assert!(id.starts_with("guest-") && id.ends_with("-real"), "{id}");
        let again = stage.apply(&nobody, guest("real")).unwrap();
        assert_ne!(again["user"]["id"], id);
    }
}
