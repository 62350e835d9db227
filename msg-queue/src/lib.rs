#![doc = include_str!("../README.md")]

pub mod source;
pub mod lane;
pub mod route;
pub mod deliver;
pub mod settle;
pub mod backoff;
pub mod worker;
pub mod local;
pub mod observe;
pub mod clock;
pub mod config;
pub mod logging;
