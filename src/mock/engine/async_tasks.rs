//! Work that the service does in the background and the mock at once: the answer is a task that has an end already.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::ServiceState;
use super::permissions::Actor;
use super::requests::Reply;
use super::rfc3339::{Rfc3339, stored};
use crate::mock::error::Rejection;

/// Tasks remembered.
const MAX_TASKS_KEPT: usize = 1000;

/// The tasks, by id.
#[derive(Debug, Default)]
pub(crate) struct AsyncTasks {
    by_id: HashMap<String, AsyncTask>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct AsyncTask {
    at: DateTime<Utc>,
    result: Value,
}

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
    pub(crate) fn finish(&mut self, now: DateTime<Utc>, result: Value) -> String {
        let id = self.ids.next(now);
        let at = stored(now);
        self.tasks
            .by_id
            .insert(id.clone(), AsyncTask { at, result });
        self.tasks.order.push_back(id.clone());
        if self.tasks.order.len() > MAX_TASKS_KEPT
            && let Some(oldest) = self.tasks.order.pop_front()
        {
            self.tasks.by_id.remove(&oldest);
        }
        id
    }

    /// The answer that names a task.
    pub(crate) fn started(id: &str) -> Reply {
        Reply::new(&TaskStarted { task_id: id })
    }

    /// `GET /tasks/{id}`.
    pub(crate) fn get_task(&self, actor: &Actor, id: &str) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let task =
            self.tasks.by_id.get(id).ok_or_else(|| {
                Rejection::not_found(format!("task {:?} was not found", short(id)))
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

/// A name of a client's as a message shows it.
pub(crate) fn short(name: &str) -> String {
    name.chars().take(64).collect()
}
