//! The scripts, with what they share put before each.
//!
//! Owns their texts. `*.lua` beside this file; each says what it takes, answers and promises.

use std::sync::LazyLock;

use crate::scripts::{Script, time};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(time!(), include_str!("mailbox.lua"), include_str!($file))));
    };
}

script!(APPEND, "append.lua");
script!(OPEN, "open.lua");
script!(READ, "read.lua");
script!(ACK, "ack.lua");
script!(WANTED, "wanted.lua");
script!(DUE, "due.lua");
script!(EXPIRE, "expire.lua");
script!(CANCEL, "cancel.lua");
script!(KEEP, "keep.lua");
script!(KEPT, "kept.lua");
