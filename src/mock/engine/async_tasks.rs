//! Work that the service does in the background and the mock at once: the answer is a task that has an end already.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::State;
use super::op::Reply;
use super::permissions::Actor;
use super::rfc3339::{Stamp, stored};
use crate::mock::error::Reject;

/// Tasks remembered.
const KEPT: usize = 1000;

/// The tasks, by id.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    by_id: HashMap<String, Task>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Task {
    at: DateTime<Utc>,
    result: Value,
}

#[derive(Serialize)]
struct TaskAnswer<'a> {
    task_id: &'a str,
    status: &'static str,
    created_at: Stamp,
    updated_at: Stamp,
    result: &'a Value,
}

#[derive(Serialize)]
struct Started<'a> {
    task_id: &'a str,
}

impl State {
    /// Remembers a finished task, and gives its id.
    pub(crate) fn finish(&mut self, now: DateTime<Utc>, result: Value) -> String {
        let id = self.ids.next(now);
        let at = stored(now);
        self.tasks.by_id.insert(id.clone(), Task { at, result });
        self.tasks.order.push_back(id.clone());
        if self.tasks.order.len() > KEPT
            && let Some(oldest) = self.tasks.order.pop_front()
        {
            self.tasks.by_id.remove(&oldest);
        }
        id
    }

    /// The answer that names a task.
    pub(crate) fn started(id: &str) -> Reply {
        Reply::new(&Started { task_id: id })
    }

    /// `GET /tasks/{id}`.
    pub(crate) fn get_task(&self, actor: &Actor, id: &str) -> Result<Reply, Reject> {
        actor.server_only()?;
        let task = self
            .tasks
            .by_id
            .get(id)
            .ok_or_else(|| Reject::not_found(format!("task {:?} was not found", short(id))))?;
        Ok(Reply::new(&TaskAnswer {
            task_id: id,
            status: "completed",
            created_at: Stamp(task.at),
            updated_at: Stamp(task.at),
            result: &task.result,
        }))
    }
}

/// A name of a client's as a message shows it.
pub(crate) fn short(name: &str) -> String {
    name.chars().take(64).collect()
}
