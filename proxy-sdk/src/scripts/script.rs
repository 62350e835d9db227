//! One script: its text, and the name that Redis knows it by.

/// What all scripts share, for `concat!`.
macro_rules! time {
    () => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/scripts/time.lua"))
    };
}
pub(crate) use time;

/// See the module. Its first argument is the time after which it takes no effect any more.
pub(crate) struct Script {
    pub(super) lua: &'static str,
    pub(super) hash: String,
}

impl Script {
    pub(crate) fn new(lua: &'static str) -> Self {
        Self { lua, hash: ::redis::Script::new(lua).get_hash().to_owned() }
    }
}
