//! The scripts, with what they share put before each.
//!
//! Owns their texts. `*.lua` beside this file; each says what it takes, answers and promises.

use std::sync::LazyLock;

use crate::scripts::{Script, time};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(time!(), include_str!("record.lua"), include_str!($file))));
    };
}

/// Opens a mailbox, too.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        time!(),
        include_str!("record.lua"),
        include_str!("../../mailbox/redis/mailbox.lua"),
        include_str!("claim.lua")
    ))
});

script!(REASSERT, "reassert.lua");
script!(RELEASE, "release.lua");
script!(JOIN, "join.lua");
script!(LEAVE, "leave.lua");
script!(HOLD, "hold.lua");
script!(SWEEP, "sweep.lua");
script!(CHANGE_BEGIN, "change_begin.lua");
script!(CHANGE_GROUP, "change_group.lua");
script!(CHANGE_END, "change_end.lua");
