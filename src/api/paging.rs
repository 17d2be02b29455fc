//! Answers larger than one call, a page at a time and no more than a page in memory.
//!
//! Users are paged by id, because an offset ends at 1000: each page asks for the ids above the last one. Channels and
//! members have no such key by contract; they are paged by offset and say when the service's bound cut them short.

use serde_json::{Map, Value, json};

use crate::api::{
    ApiError, ChannelState, Client, GetOrCreate, Member, Page, QueryChannels, QueryMembers,
    QueryUsers, Sort, UserPage,
};
use crate::domain::Cid;

/// The most users a page may hold.
pub const USERS_A_PAGE: u32 = 100;
/// The most channels a page may hold.
pub const CHANNELS_A_PAGE: u32 = 30;
/// The largest offset into channels.
const CHANNEL_OFFSETS: u32 = 1000;
/// The most members a page of the members query may hold.
const MEMBERS_A_QUERY: u32 = 100;
/// The largest offset of the members query.
const MEMBER_QUERY_OFFSETS: u32 = 1000;
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
    pub async fn next_page(&mut self) -> Result<Option<UserPage>, ApiError> {
        if self.done {
            return Ok(None);
        }
        let query = self.page_query();
        let users = self.client.query_user_page(&query).await?;
        let last = users.last_id();
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
/// The members query ends after eleven pages of a hundred. A larger channel is read as pages of its state instead, which
/// reach ten times as far.
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
    /// Prepares the pages of a channel that is said to have `total` members.
    pub const fn new(client: Client, cid: Cid, total: u64) -> Self {
        Self {
            client,
            cid,
            offset: 0,
            large: total > (MEMBER_QUERY_OFFSETS + MEMBERS_A_QUERY) as u64,
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
        let (members, limit, last_offset) = if self.large {
            (self.state_page().await?, MEMBERS_A_PAGE, MEMBER_OFFSETS)
        } else {
            (
                self.query_page().await?,
                MEMBERS_A_QUERY,
                MEMBER_QUERY_OFFSETS,
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
            // Newcomers at the end, so that they shift no page.
            sort: vec![Sort {
                field: "created_at".to_owned(),
                direction: 1,
            }],
            limit: MEMBERS_A_QUERY,
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
                limit: MEMBERS_A_PAGE,
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

    /// Whether the end was the service's bound on offsets, with more members beyond it.
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}
