//! `GET /members`.

use serde::Serialize;

use crate::mock::engine::data::filter::QueryFilter;
use crate::mock::engine::data::member_view::{self, MemberView};
use crate::mock::engine::data::requests::{QueryMembersRequest, Reply};
use crate::mock::engine::data::sort::{SortOrder, page};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::channel_data::distinct_id;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

#[derive(Serialize)]
struct MemberListResponse<'a> {
    members: Vec<MemberView<'a>>,
}

impl ServiceState {
    pub(crate) fn query_members(
        &self,
        actor: &Actor,
        query: &QueryMembersRequest,
    ) -> Result<Reply, Rejection> {
        let id = match &query.id {
            Some(id) => id.clone(),
            None => distinct_id(&query.members)?,
        };
        let (_, channel) = self.channel_named(&query.channel_type, &id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &query.channel_type));
        }
        if query.sort.len() > 1 {
            return Err(Rejection::input("sort: at most 1 field is allowed"));
        }
        let filter = QueryFilter::parse(&query.filter_conditions, member_view::schema)?;
        let sort = SortOrder::parse(&query.sort)?;
        let (limit, offset) = page(query.limit, query.offset, 100, 300, 10_000)?;
        let mut found: Vec<MemberView<'_>> = self
            .members_of(channel, actor.viewer())
            .filter(|member| filter.matches(member))
            .collect();
        found.sort_by(|a, b| sort.compare(a, b));
        Ok(Reply::new(&MemberListResponse {
            members: found.into_iter().skip(offset).take(limit).collect(),
        }))
    }
}
