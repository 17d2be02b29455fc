//! Paging through results that are larger than one response, with at most one page in memory.
//!
//! The service limits offsets to 1000, and pages by offset repeat or skip items when the order changes. So all users
//! are paged by id, and all channels by the time of their creation. Members have no such key. They are paged by offset,
//! and the result says if the limit cut it short.

use std::collections::HashSet;

use serde::Serialize;

use serde_json::{Map, Value, json};
use url::form_urlencoded::byte_serialize;

use crate::api::client::URL_MAX_BYTES;
use crate::api::{
    ApiError, ChannelState, Client, GetOrCreate, Member, Page, QueryChannels, QueryMembers,
    QueryUsers, Sort, UserPage,
};
use crate::domain::{Cid, User};

/// The largest page of users.
pub const USERS_PER_PAGE: u32 = 100;
/// The largest page of channels.
pub const CHANNELS_PER_PAGE: u32 = 30;
/// The largest offset into channels.
const CHANNEL_OFFSET_MAX: u32 = 1000;
/// The largest page of the members query.
const MEMBERS_PER_QUERY: u32 = 100;
/// The part of a URL's length that is reserved for everything except ids and filters: address, key, user, and the rest
/// of the payload.
const URL_RESERVED_BYTES: usize = 1536;
/// The largest offset of the members query.
const MEMBER_QUERY_OFFSET_MAX: u32 = 1000;
/// The largest page of members in a channel's state.
const MEMBERS_PER_STATE_PAGE: u32 = 300;
/// The largest offset into the members of a channel's state.
const MEMBER_STATE_OFFSET_MAX: u32 = 10_000;

/// All users that match a filter, in the order of their ids.
#[derive(Debug)]
pub struct UserPages {
    client: Client,
    query: QueryUsers,
    after: Option<String>,
    done: bool,
}

impl UserPages {
    /// Prepares the pages of a query. Its sort and offset are replaced. Its `limit` is the page size; the default is
    /// 100.
    pub const fn new(client: Client, query: QueryUsers) -> Self {
        Self {
            client,
            query,
            after: None,
            done: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be requested again.
    pub async fn next_page(&mut self) -> Result<Option<UserPage>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let query = self.page_query();
        let users = self.client.query_user_page(&query).await?;
        let last = users.last_id();
        // A server that ignores the key would return the same page for ever.
        let stuck = last.is_none() || last == self.after;
        self.done = stuck || users.len() < query.limit.unwrap_or(USERS_PER_PAGE) as usize;
        self.after = last;
        Ok((!users.is_empty() && !stuck).then_some(users))
    }

    /// Whether the last page has been returned.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    fn page_query(&self) -> QueryUsers {
        let mut query = self.query.clone();
        query.limit = Some(
            query
                .limit
                .unwrap_or(USERS_PER_PAGE)
                .clamp(1, USERS_PER_PAGE),
        );
        query.offset = None;
        query.sort = vec![Sort {
            field: "id".to_owned(),
            direction: 1,
        }];
        if let Some(after) = &self.after {
            let beyond = json!({ "id": { "$gt": after } });
            query.filter_conditions = both(&self.query.filter_conditions, beyond);
        }
        query
    }
}

/// The first channels that match a filter, in the order of the query, up to the service's largest offset.
///
/// The order may change between two pages, so a channel may appear twice. It is returned once.
#[derive(Debug)]
pub struct ChannelPages {
    client: Client,
    query: QueryChannels,
    seen: HashSet<String>,
    done: bool,
    truncated: bool,
}

impl ChannelPages {
    /// Prepares the pages of a query, starting at its offset.
    pub fn new(client: Client, query: QueryChannels) -> Self {
        Self {
            client,
            query,
            seen: HashSet::new(),
            done: false,
            truncated: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be requested again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ChannelState>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let limit = self
            .query
            .limit
            .unwrap_or(CHANNELS_PER_PAGE)
            .clamp(1, CHANNELS_PER_PAGE);
        self.query.limit = Some(limit);
        let mut channels = self.client.query_channels(&self.query).await?;
        let full = channels.len() >= limit as usize;
        let offset = self.query.offset.unwrap_or(0) + limit;
        self.truncated = full && offset > CHANNEL_OFFSET_MAX;
        self.done = !full || self.truncated;
        self.query.offset = Some(offset);
        retain_new(&mut channels, &mut self.seen);
        Ok((!channels.is_empty() || !self.done).then_some(channels))
    }

    /// Whether the limit on offsets ended the pages although there are more channels.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}

/// All channels that match a filter, the oldest first.
///
/// They are paged by `created_at`, the only time of a channel that never changes. Each page asks for channels that are
/// not older than the last one, and skips those that were already returned.
#[derive(Debug)]
pub struct AllChannelPages {
    client: Client,
    query: QueryChannels,
    seen: HashSet<String>,
    /// `created_at` of the last channel, and how many channels of that time were returned.
    last: Option<(String, u32)>,
    done: bool,
}

impl AllChannelPages {
    /// Prepares the pages of a query. Its sort, limit and offset are replaced.
    pub fn new(client: Client, query: QueryChannels) -> Self {
        Self {
            client,
            query,
            seen: HashSet::new(),
            last: None,
            done: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be requested again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ChannelState>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let mut channels = self.client.query_channels(&self.page_query()).await?;
        let full = channels.len() >= CHANNELS_PER_PAGE as usize;
        retain_new(&mut channels, &mut self.seen);
        for channel in &channels {
            let Some(time) = channel.channel.get("created_at").and_then(Value::as_str) else {
                continue;
            };
            match &mut self.last {
                Some((last, ties)) if last == time => *ties += 1,
                last => *last = Some((time.to_owned(), 1)),
            }
        }
        // A server that ignores the key would return the same page for ever.
        self.done = !full || channels.is_empty() || self.last.is_none();
        Ok((!channels.is_empty()).then_some(channels))
    }

    fn page_query(&self) -> QueryChannels {
        let mut query = self.query.clone();
        query.limit = Some(CHANNELS_PER_PAGE);
        query.offset = None;
        query.sort = vec![Sort {
            field: "created_at".to_owned(),
            direction: 1,
        }];
        if let Some((time, ties)) = &self.last {
            let beyond = json!({ "created_at": { "$gte": time } });
            query.filter_conditions = both(&self.query.filter_conditions, beyond);
            query.offset = Some(*ties);
        }
        query
    }
}

/// Removes channels that were already returned.
fn retain_new(channels: &mut Vec<ChannelState>, seen: &mut HashSet<String>) {
    channels.retain(|channel| channel.cid().is_none_or(|cid| seen.insert(cid.to_owned())));
}

/// A filter that matches what both filters match. An empty filter matches everything.
fn both(filter: &Map<String, Value>, other: Value) -> Map<String, Value> {
    match other {
        Value::Object(other) if filter.is_empty() => other,
        other => Map::from_iter([("$and".to_owned(), json!([filter, other]))]),
    }
}

/// Splits ids into batches of at most `max_ids` that fit into a URL, next to `reserved_bytes` of other JSON.
pub fn id_batches<T: AsRef<str>>(
    ids: &[T],
    max_ids: usize,
    reserved_bytes: usize,
) -> impl Iterator<Item = &[T]> {
    /// An encoded quote on both sides of an id and a comma after it.
    const BYTES_AROUND_ID: usize = "%22%22%2C".len();
    let budget = (URL_MAX_BYTES - URL_RESERVED_BYTES).saturating_sub(reserved_bytes);
    let mut rest = ids;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(max_ids.max(1)).take_while(|id| {
            bytes += encoded_len(id.as_ref()) + BYTES_AROUND_ID;
            bytes <= budget
        });
        // At least one id is always sent. If even that is too long, the client reports it.
        let (batch, after) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

/// The length of a text in a URL.
pub fn encoded_len(text: &str) -> usize {
    byte_serialize(text.as_bytes()).map(str::len).sum()
}

impl Client {
    /// Reads the users with these ids, in as many calls as their number and length require. The filter and other fields
    /// of the query apply to each call.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_users_in<T: AsRef<str> + Serialize>(
        &self,
        ids: &[T],
        query: &QueryUsers,
    ) -> Result<Vec<User>, ApiError> {
        let mut users = Vec::with_capacity(ids.len());
        let filter = &query.filter_conditions;
        let reserved_bytes = encoded_len(&Value::Object(filter.clone()).to_string());
        for batch in id_batches(ids, USERS_PER_PAGE as usize, reserved_bytes) {
            let query = QueryUsers {
                filter_conditions: both(filter, json!({ "id": { "$in": batch } })),
                limit: u32::try_from(batch.len()).ok(),
                ..query.clone()
            };
            users.extend(self.query_users(&query).await?);
        }
        Ok(users)
    }
}

/// The members of an existing channel.
///
/// The members query ends after 11 pages of 100. Larger channels are read as pages of their state, which reach ten
/// times as far.
#[derive(Debug)]
pub struct MemberPages {
    client: Client,
    cid: Cid,
    offset: u32,
    large: bool,
    done: bool,
    truncated: bool,
}

impl MemberPages {
    /// Prepares the pages of a channel with about `total` members.
    pub const fn new(client: Client, cid: Cid, total: u64) -> Self {
        Self {
            client,
            cid,
            offset: 0,
            large: total > (MEMBER_QUERY_OFFSET_MAX + MEMBERS_PER_QUERY) as u64,
            done: false,
            truncated: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be requested again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Member>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let (members, limit, last_offset) = if self.large {
            (
                self.state_page().await?,
                MEMBERS_PER_STATE_PAGE,
                MEMBER_STATE_OFFSET_MAX,
            )
        } else {
            (
                self.query_page().await?,
                MEMBERS_PER_QUERY,
                MEMBER_QUERY_OFFSET_MAX,
            )
        };
        let full = members.len() >= limit as usize;
        self.offset += limit;
        self.truncated = full && self.offset > last_offset;
        self.done = !full || self.truncated;
        Ok((!members.is_empty()).then_some(members))
    }

    async fn query_page(&self) -> Result<Vec<Member>, ApiError> {
        let query = QueryMembers {
            channel_type: self.cid.channel_type.as_str().to_owned(),
            id: self.cid.id.as_str().to_owned(),
            filter_conditions: Map::new(),
            // New members come last, so they do not shift earlier pages.
            sort: vec![Sort {
                field: "created_at".to_owned(),
                direction: 1,
            }],
            limit: MEMBERS_PER_QUERY,
            offset: self.offset,
        };
        self.client.query_members(&query).await
    }

    async fn state_page(&self) -> Result<Vec<Member>, ApiError> {
        let request = GetOrCreate {
            state: true,
            messages: Some(Page {
                limit: 0,
                offset: 0,
            }),
            members: Some(Page {
                limit: MEMBERS_PER_STATE_PAGE,
                offset: self.offset,
            }),
            ..GetOrCreate::default()
        };
        let state = self
            .client
            .get_or_create_channel(&self.cid, &request)
            .await?;
        Ok(state.members)
    }

    /// Whether the limit on offsets ended the pages although there are more members.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_split_by_number_and_by_length() {
        let sizes = |ids: &[String], reserved| -> Vec<usize> {
            id_batches(ids, 100, reserved).map(<[_]>::len).collect()
        };
        let short: Vec<String> = (0..250).map(|n| format!("u{n}")).collect();
        assert_eq!(sizes(&short, 0), [100, 100, 50]);
        let long: Vec<String> = (0..60).map(|n| format!("{n:0>255}")).collect();
        assert_eq!(sizes(&long, 0), [25, 25, 10]);
        assert_eq!(sizes(&long, 4000), [10; 6]);
        assert_eq!(
            sizes(&long[..2], 1_000_000),
            [1, 1],
            "too long is the client's to say"
        );
        let encoded: Vec<String> = (0..40).map(|n| format!("{n:@>250}")).collect();
        assert_eq!(sizes(&encoded, 0), [8; 5], "an @ takes three bytes");
        assert_eq!(sizes(&[], 0), [0; 0]);
    }
}
