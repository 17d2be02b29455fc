//! Answers larger than one call, a page at a time and no more than a page in memory.
//!
//! Users are paged by id, because an offset ends at 1000: each page asks for the ids above the last one. Channels and
//! members have no such key by contract; they are paged by offset and say when the service's bound cut them short.

use serde_json::{Map, Value, json};

use crate::api::{
    ApiError, ChannelState, Client, GetOrCreate, Member, Page, QueryChannels, QueryUsers, Sort,
};
use crate::domain::{Cid, User};

/// The most users a page may hold.
pub const USERS_A_PAGE: u32 = 100;
/// The most channels a page may hold.
pub const CHANNELS_A_PAGE: u32 = 30;
/// The largest offset into channels.
const CHANNEL_OFFSETS: u32 = 1000;
/// The most members a page of a channel's state may hold.
const MEMBERS_A_PAGE: u32 = 300;
/// The largest offset into the members of a channel's state.
const MEMBER_OFFSETS: u32 = 10_000;

/// All users that match a filter, in the order of their ids.
#[derive(Debug)]
pub struct UserPages {
    client: Client,
    query: QueryUsers,
    after: Option<String>,
    done: bool,
}

impl UserPages {
    /// Prepares the pages of a query. Its sort and offset give way to paging; its `limit` is the page size, 100 where it
    /// has none.
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
    /// See [`ApiError`]. After an error the same page can be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<User>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let query = self.page_query();
        let users = self.client.query_users(&query).await?;
        let last = users.last().map(|user| user.id().to_owned());
        // A server that does not understand the key would answer the same page for ever.
        let stuck = last.is_none() || last == self.after;
        self.done = stuck || users.len() < query.limit.unwrap_or(USERS_A_PAGE) as usize;
        self.after = last;
        Ok((!users.is_empty() && !stuck).then_some(users))
    }

    fn page_query(&self) -> QueryUsers {
        let mut query = self.query.clone();
        query.limit = Some(query.limit.unwrap_or(USERS_A_PAGE).clamp(1, USERS_A_PAGE));
        query.offset = None;
        query.sort = vec![Sort {
            field: "id".to_owned(),
            direction: 1,
        }];
        if let Some(after) = &self.after {
            let beyond = json!({ "id": { "$gt": after } });
            query.filter_conditions = match (self.query.filter_conditions.is_empty(), beyond) {
                (true, Value::Object(beyond)) => beyond,
                (_, beyond) => Map::from_iter([(
                    "$and".to_owned(),
                    json!([self.query.filter_conditions, beyond]),
                )]),
            };
        }
        query
    }
}

/// The channels that match a filter, in the order of the query.
#[derive(Debug)]
pub struct ChannelPages {
    client: Client,
    query: QueryChannels,
    done: bool,
    truncated: bool,
}

impl ChannelPages {
    /// Prepares the pages of a query, from its offset on.
    pub const fn new(client: Client, query: QueryChannels) -> Self {
        Self {
            client,
            query,
            done: false,
            truncated: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ChannelState>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let limit = self
            .query
            .limit
            .unwrap_or(CHANNELS_A_PAGE)
            .clamp(1, CHANNELS_A_PAGE);
        self.query.limit = Some(limit);
        let channels = self.client.query_channels(&self.query).await?;
        let full = channels.len() >= limit as usize;
        let offset = self.query.offset.unwrap_or(0) + limit;
        self.truncated = full && offset > CHANNEL_OFFSETS;
        self.done = !full || self.truncated;
        self.query.offset = Some(offset);
        Ok((!channels.is_empty()).then_some(channels))
    }

    /// Whether the end was the service's bound on offsets, with more channels beyond it.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}

/// The members of a channel that exists.
///
/// They are read as pages of the channel's state rather than by the members query, which is bounded to a tenth of
/// them and has a thirtieth of the budget.
#[derive(Debug)]
pub struct MemberPages {
    client: Client,
    cid: Cid,
    offset: u32,
    done: bool,
    truncated: bool,
}

impl MemberPages {
    /// Prepares the pages of a channel's members after the first `offset` of them.
    pub const fn new(client: Client, cid: Cid, offset: u32) -> Self {
        Self {
            client,
            cid,
            offset,
            done: false,
            truncated: false,
        }
    }

    /// The next page, or `None` after the last.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. After an error the same page can be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Member>>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let request = GetOrCreate {
            state: true,
            messages: Some(Page {
                limit: 0,
                offset: 0,
            }),
            members: Some(Page {
                limit: MEMBERS_A_PAGE,
                offset: self.offset,
            }),
            ..GetOrCreate::default()
        };
        let state = self
            .client
            .get_or_create_channel(&self.cid, &request)
            .await?;
        let full = state.members.len() >= MEMBERS_A_PAGE as usize;
        self.offset += MEMBERS_A_PAGE;
        self.truncated = full && self.offset > MEMBER_OFFSETS;
        self.done = !full || self.truncated;
        Ok((!state.members.is_empty()).then_some(state.members))
    }

    /// Whether the end was the service's bound on offsets, with more members beyond it.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}
