//! Operations on tasks, and how other operations start one.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::mock::engine::data::async_tasks::AsyncTask;
use crate::mock::engine::data::requests::Reply;
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

#[derive(Serialize)]
struct TaskResponse<'a> {
    task_id: &'a str,
    status: &'static str,
    created_at: Rfc3339,
    updated_at: Rfc3339,
    result: &'a Value,
}

#[derive(Serialize)]
struct TaskStarted<'a> {
    task_id: &'a str,
}

impl ServiceState {
    /// Remembers a finished task, and gives its id.
    pub(crate) fn complete_task(&mut self, now: DateTime<Utc>, result: Value) -> String {
        let id = self.ids.next(now);
        let task = AsyncTask {
            at: stored(now),
            result,
        };
        self.tasks.insert(id.clone(), task);
        id
    }

    /// The answer that names a task.
    pub(crate) fn task_started(id: &str) -> Reply {
        Reply::new(&TaskStarted { task_id: id })
    }

    /// `GET /tasks/{id}`.
    pub(crate) fn get_task(&self, actor: &Actor, id: &str) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let task = self.tasks.get(id).ok_or_else(|| {
            Rejection::not_found(format!("Can't find task with id {}", shortened(id)))
        })?;
        Ok(Reply::new(&TaskResponse {
            task_id: id,
            status: "completed",
            created_at: Rfc3339(task.at),
            updated_at: Rfc3339(task.at),
            result: &task.result,
        }))
    }
}
