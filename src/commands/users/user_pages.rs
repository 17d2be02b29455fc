//! The pages of users for `query-users`: given ids, all users by id, or the service's order by offset.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::paging::{encoded_len, id_batches};
use crate::api::{Client, QueryUsers, UserPage, UserPages};
use crate::commands::filters::all_of;
use crate::commands::ids::BATCH;
use crate::domain::UserId;

/// The default number of users per page, which is also the service's.
pub(super) const DEFAULT_PAGE_SIZE: u32 = 30;
/// The largest number of users per page.
pub(super) const PAGE_SIZE_MAX: u32 = 100;
/// The largest offset that the service accepts.
pub(super) const OFFSET_MAX: u32 = 1000;

/// Pages of users.
pub(super) enum PageSource {
    /// The pages of given ids, one per batch.
    Named {
        client: Client,
        query: QueryUsers,
        batches: std::vec::IntoIter<Vec<UserId>>,
        is_one_page: bool,
    },
    /// All users, in the order of their ids.
    ById(UserPages),
    /// In the requested order, up to the service's largest offset.
    ByOffset {
        client: Client,
        query: QueryUsers,
        /// Whether only one page was requested.
        once: bool,
        done: bool,
        /// Whether the service's limit on offsets ended the pages although there are more users.
        truncated: bool,
    },
}

impl PageSource {
    pub(super) fn named(client: Client, query: QueryUsers, ids: &[UserId]) -> Self {
        let reserved = encoded_len(&Value::Object(query.filter_conditions.clone()).to_string());
        let batches: Vec<Vec<UserId>> = id_batches(ids, BATCH, reserved)
            .map(<[UserId]>::to_vec)
            .collect();
        Self::Named {
            client,
            query,
            is_one_page: batches.len() <= 1,
            batches: batches.into_iter(),
        }
    }

    pub(super) const fn by_id(client: Client, query: QueryUsers) -> Self {
        Self::ById(UserPages::new(client, query))
    }

    pub(super) const fn by_offset(client: Client, query: QueryUsers, once: bool) -> Self {
        Self::ByOffset {
            client,
            query,
            once,
            done: false,
            truncated: false,
        }
    }

    /// Whether pages arrive in the requested order, so that they can be printed at once.
    pub(super) const fn is_sorted(&self) -> bool {
        match self {
            Self::Named { is_one_page, .. } => *is_one_page,
            Self::ById(_) => false,
            Self::ByOffset { .. } => true,
        }
    }

    /// Whether there is no further page.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Named { batches, .. } => batches.len() == 0,
            Self::ById(pages) => pages.is_done(),
            Self::ByOffset { done, .. } => *done,
        }
    }

    /// Whether the service's limit on offsets ended the pages.
    pub(super) const fn is_truncated(&self) -> bool {
        matches!(
            self,
            Self::ByOffset {
                truncated: true,
                ..
            }
        )
    }

    /// The next page, of at most `size` users if the source allows a size.
    pub(super) async fn next(&mut self, size: u64) -> anyhow::Result<Option<UserPage>> {
        let page = match self {
            Self::ById(pages) => pages.next_page().await,
            Self::Named {
                client,
                query,
                batches,
                ..
            } => {
                let Some(batch) = batches.next() else {
                    return Ok(None);
                };
                let filter = Map::clone(&query.filter_conditions);
                let query = QueryUsers {
                    filter_conditions: all_of([
                        Some(json!({ "id": { "$in": batch } })),
                        Some(Value::Object(filter)),
                    ]),
                    limit: u32::try_from(batch.len()).ok(),
                    ..query.clone()
                };
                client.query_user_page(&query).await.map(Some)
            }
            Self::ByOffset {
                client,
                query,
                once,
                done,
                truncated,
            } => {
                if *done {
                    return Ok(None);
                }
                let limit = match *once {
                    true => DEFAULT_PAGE_SIZE,
                    false => u32::try_from(size).map_or(PAGE_SIZE_MAX, |n| n.min(PAGE_SIZE_MAX)),
                };
                query.limit = Some(limit);
                let page = client.query_user_page(query).await;
                if let Ok(page) = &page {
                    let full = page.len() >= limit as usize;
                    let next = query.offset.unwrap_or(0) + limit;
                    *truncated = full && !*once && next > OFFSET_MAX;
                    *done = *once || !full || *truncated;
                    query.offset = Some(next);
                }
                page.map(Some)
            }
        };
        page.context("cannot query users")
    }
}
