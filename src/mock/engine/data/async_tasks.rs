//! Asynchronous tasks. The service runs them in the background. The mock runs them at once, so every task is completed.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::Value;

/// How many tasks are kept.
const MAX_TASKS_KEPT: usize = 1000;

/// The tasks, by id.
#[derive(Debug, Default)]
pub(crate) struct AsyncTasks {
    by_id: HashMap<String, AsyncTask>,
    order: VecDeque<String>,
}

/// One completed task.
#[derive(Debug)]
pub(crate) struct AsyncTask {
    /// When it was completed.
    pub(crate) at: DateTime<Utc>,
    /// Its result.
    pub(crate) result: Value,
}

impl AsyncTasks {
    /// Adds a task and forgets the oldest one beyond the limit.
    pub(crate) fn insert(&mut self, id: String, task: AsyncTask) {
        self.by_id.insert(id.clone(), task);
        self.order.push_back(id);
        if self.order.len() > MAX_TASKS_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&AsyncTask> {
        self.by_id.get(id)
    }
}
