//! The operators' command; see `gim_proxy_sdk::cli`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(gim_proxy_sdk::cli::run(std::env::args_os(), &mut stdout(), &mut stderr()).await)
}
