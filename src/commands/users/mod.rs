//! Commands about users.

mod bulk;
mod checkpoint;
pub mod deactivate_user;
pub mod delete_user;
mod each_user;
pub mod get_user;
pub mod query_users;
pub mod reactivate_user;
pub mod restore_user;
pub mod set_user;
mod update;
mod user_pages;
