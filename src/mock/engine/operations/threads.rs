//! Operations on threads: query them, read one, and mark one as read or unread.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::filter::QueryFilter;
use crate::mock::engine::data::messages::{Message, ThreadReaders};
use crate::mock::engine::data::requests::{
    GetThreadRequest, JsonObject, QueryThreadsRequest, Reply,
};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::sort::{SortOrder, SortParam, page};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::thread_view::{self, ThreadView};
use crate::mock::engine::data::user::Viewer;
use crate::mock::engine::rules::channel_events::ChannelEventDraft;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

/// Threads of one page, the default and the largest; the largest offset.
const DEFAULT_THREAD_PAGE: usize = 10;
const MAX_THREAD_PAGE: usize = 25;
const MAX_THREAD_OFFSET: usize = 1000;

/// Replies that a thread includes unless a request says how many.
const DEFAULT_THREAD_REPLIES: usize = 2;

#[derive(Serialize)]
struct ThreadListResponse<'a> {
    threads: Vec<ThreadView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The position of a page. The pages after the first keep its sort.
#[derive(Serialize, Deserialize)]
struct ThreadCursor {
    offset: usize,
    sort: Vec<SortParam>,
}

impl ThreadCursor {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

#[derive(Serialize)]
struct ThreadResponse<'a> {
    thread: ThreadView<'a>,
}

impl ServiceState {
    /// `POST /threads`: those in which the user takes part.
    pub(crate) fn query_threads(
        &self,
        actor: &Actor,
        query: &QueryThreadsRequest,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let filter = QueryFilter::parse(&query.filter, thread_view::schema)?;
        let cursor = match &query.next {
            Some(next) => ThreadCursor::decode(next).ok_or_else(|| {
                Rejection::field("next", "is not the position of a page, as an answer has it")
            })?,
            None => ThreadCursor {
                offset: 0,
                sort: query.sort.clone(),
            },
        };
        let sort = SortOrder::parse(&cursor.sort)?;
        let (limit, offset) = page(
            query.limit,
            i64::try_from(cursor.offset).ok(),
            DEFAULT_THREAD_PAGE,
            MAX_THREAD_PAGE,
            MAX_THREAD_OFFSET,
        )?;
        let reply_limit = query.reply_limit.unwrap_or(DEFAULT_THREAD_REPLIES);
        let mut found: Vec<ThreadView<'_>> = self
            .channels
            .iter()
            .filter(|(_, channel)| self.may_read(actor, channel))
            .flat_map(|(_, channel)| {
                channel.messages.threads().map(move |thread| ThreadView {
                    reply_limit,
                    with_read: !actor.server,
                    ..self.thread_view(channel, thread, Viewer::User(user))
                })
            })
            .filter(|thread| thread.readers.contains_key(&user) && filter.matches(thread))
            .collect();
        // Without a sort, the newest reply comes first.
        found.sort_by_key(|thread| std::cmp::Reverse(thread.last().created_at));
        found.sort_by(|a, b| sort.compare(a, b));
        let next = ThreadCursor {
            offset: offset + limit,
            ..cursor
        };
        Ok(Reply::new(&ThreadListResponse {
            next: (limit > 0 && next.offset < found.len()).then(|| next.encode()),
            threads: found.into_iter().skip(offset).take(limit).collect(),
        }))
    }

    /// `GET /threads/{message_id}`.
    pub(crate) fn get_thread(
        &self,
        actor: &Actor,
        id: &str,
        request: &GetThreadRequest,
    ) -> Result<Reply, Rejection> {
        let (_, channel, _) = self.readable_message(actor, id)?;
        let thread = channel.messages.thread(id).ok_or_else(|| no_thread(id))?;
        Ok(Reply::new(&ThreadResponse {
            thread: ThreadView {
                reply_limit: request.reply_limit.unwrap_or(DEFAULT_THREAD_REPLIES),
                with_read: !actor.server,
                ..self.thread_view(channel, thread, actor.viewer())
            },
        }))
    }

    fn thread_view<'a>(
        &'a self,
        channel: &'a Channel,
        (parent, readers): (&'a Message, &'a ThreadReaders),
        viewer: Viewer,
    ) -> ThreadView<'a> {
        ThreadView {
            state: self,
            channel,
            parent,
            readers,
            viewer,
            reply_limit: DEFAULT_THREAD_REPLIES,
            with_read: false,
        }
    }

    /// Sets how far a user has read a thread: to its end, or (`is_read` is `false`) not at all. Returns what events
    /// about it include.
    pub(crate) fn set_thread_read(
        &mut self,
        key: ChannelKey,
        id: &str,
        user: UserKey,
        is_read: bool,
    ) -> Result<JsonObject, Rejection> {
        let thread = self.channels.get_mut(key).and_then(|channel| {
            let (parent, _) = channel.messages.thread(id)?;
            let place = parent.sequence;
            let read_up_to = if is_read {
                channel.messages.last_sequence()
            } else {
                place
            };
            channel.messages.set_thread_read(place, user, read_up_to);
            Some(())
        });
        thread.ok_or_else(|| no_thread(id))?;
        let channel = self.channels.get(key).expect("it was found above");
        let thread = channel.messages.thread(id).expect("it was found above");
        // Everybody who watches the channel gets the event.
        let view = self.thread_view(channel, thread, Viewer::Other);
        Ok(Map::from_iter([
            ("thread_id".to_owned(), id.into()),
            ("thread".to_owned(), json!(view)),
        ]))
    }

    /// Tells a user's own connections how many threads and messages they have not read.
    pub(crate) fn send_read_notification(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        key: ChannelKey,
        user: UserKey,
        thread: JsonObject,
    ) {
        let mut extra = self.unread_counts(user);
        extra.extend(thread);
        extra.insert(
            "unread_threads".to_owned(),
            self.unread_threads(user).len().into(),
        );
        let news = ChannelEventDraft {
            user: Some(user),
            whole: true,
            extra: Some(&extra),
            ..ChannelEventDraft::new(kind, key)
        };
        self.send_channel_event(now, &self.connections_of(user), &news);
    }
}

fn no_thread(id: &str) -> Rejection {
    Rejection::not_found(format!("thread with id {} doesn't exist", shortened(id)))
}
