//! The console page and the browser client.

use crate::{clients::assert_succeeds, support::Server};

const FOLDER: &str = "tests/browser";

// the browser client, and the console in a headless browser
#[tokio::test]
#[ignore = "needs node, npm and chromium; scripts/test runs it"]
async fn the_console_works_in_a_browser() {
    let server = Server::start(&[]).await;
    assert_succeeds(&server, FOLDER, "npm", &["ci", "--no-audit", "--no-fund"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["test"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["run", "test:console"]).await;
    // A browser always offers to compress.
    let compressing = Server::start(&[("PERMESSAGE_DEFLATE", "on")]).await;
    assert_succeeds(&compressing, FOLDER, "npm", &["run", "test:console"]).await;
}
