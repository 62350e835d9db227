//! What others wrote down in Redis is told by every node that shares it.

use gim_proto::MessageId;
use gim_proxy_sdk::ledger::{Hop, Ledger, LedgerBounds, Receipt, ReceiptState, RedisLedger};
use gim_proxy_sdk::testing::shared_redis;
use serde_json::json;

use crate::stage::Stage;
use crate::support::eventually;
use crate::support::http::get;

#[tokio::test]
async fn receipts_and_hops_of_another_process_are_told() {
    let stage = Stage::start().await;
    let ledger = RedisLedger::new(&shared_redis().await.store(), stage.keys.clone(), LedgerBounds::default());
    let receipt = |state| Receipt {
        id: MessageId::parse("m").unwrap(),
        target: "42".into(),
        state,
        reason: None,
        node: "elsewhere".into(),
        at_ms: 7,
    };
    ledger.receipts(&[receipt(ReceiptState::Stored), receipt(ReceiptState::Acked)]).await.unwrap();
    let (_, found) = get(stage.node.admin, "/api/v1/receipts?limit=1").await;
    let first = &found["receipts"][0];
    let fields = json!({ "id": "m", "target": "42", "state": "stored", "node": "elsewhere", "at_ms": "7" });
    assert_eq!(first["fields"], fields);
    let after = first["entry"].as_str().unwrap();
    let (_, found) = get(stage.node.admin, &format!("/api/v1/receipts?after={after}")).await;
    assert_eq!((&found["receipts"][0]["fields"]["state"], &found["receipts"][1]), (&json!("acked"), &json!(null)));
    let hop = |hop: &str, node: &str, at_us| Hop {
        id: MessageId::parse("m").unwrap(),
        hop: hop.into(),
        target: None,
        detail: None,
        node: node.into(),
        at_us,
    };
    ledger.note(vec![hop("read", "elsewhere", 10), hop("routed", "elsewhere", 15), hop("offered", "n", 40)]);
    let journey = eventually("the journey", || async {
        let (status, journey) = get(stage.node.admin, "/api/v1/messages/m").await;
        (status == 200).then_some(journey)
    })
    .await;
    let last = &journey["hops"][2];
    assert_eq!(
        (&last["since_first_us"], &last["since_last_us"], &last["other_clock"]),
        (&json!(30), &json!(25), &json!(true))
    );
    assert_eq!(journey["hops"][1]["other_clock"], json!(null));
}
