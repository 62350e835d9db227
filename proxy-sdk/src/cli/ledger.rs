//! `gim receipts` and `gim presence`: what became of messages, who came and went.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::args::Logged;
use super::table::Table;
use super::time;
use crate::ledger::{Log, Noted};
use crate::{Error, NodeClient};

pub(super) async fn receipts(page: Logged, client: &NodeClient) -> Result<Answer, Error> {
    let found = client.read_log(Log::Receipts, page.after, page.limit).await?;
    let columns = ["at_ms", "id", "target", "state", "reason", "node"];
    let table = table(&["ENTRY", "AT", "MESSAGE", "TARGET", "STATE", "REASON", "PROCESS"], &columns, &found);
    Ok(Answer::done(table.to_string(), json!({ "receipts": shown(&found) })))
}

pub(super) async fn presence(page: Logged, client: &NodeClient) -> Result<Answer, Error> {
    let found = client.read_log(Log::Presence, page.after, page.limit).await?;
    let columns = ["at_ms", "uid", "state", "fence", "reason", "node"];
    let table = table(&["ENTRY", "AT", "USER", "STATE", "FENCE", "REASON", "NODE"], &columns, &found);
    Ok(Answer::done(table.to_string(), json!({ "presence": shown(&found) })))
}

fn table(head: &[&'static str], columns: &[&str], found: &[Noted]) -> Table {
    let mut table = Table::new(head);
    for noted in found {
        let cell = |name: &&str| match (*name, field(noted, name)) {
            (_, None) => "-".to_owned(),
            ("at_ms", Some(at)) => at.parse().map_or_else(|_| at.to_owned(), time::show_time),
            (_, Some(value)) => value.to_owned(),
        };
        table.row(std::iter::once(noted.id.to_string()).chain(columns.iter().map(cell)));
    }
    table
}

fn field<'a>(noted: &'a Noted, name: &str) -> Option<&'a str> {
    noted.fields.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
}

fn shown(found: &[Noted]) -> Vec<Value> {
    let fields = |noted: &Noted| -> Map<String, Value> {
        noted.fields.iter().map(|(name, value)| (name.to_string(), json!(value))).collect()
    };
    found.iter().map(|noted| json!({ "entry": noted.id.to_string(), "fields": fields(noted) })).collect()
}

#[cfg(test)]
mod tests {
    use gim_proto::EntryId;

    use super::*;

    #[test]
    fn an_entry_is_a_row_and_what_it_lacks_is_a_dash() {
        let fields = [("id", "m-1"), ("target", "42"), ("state", "stored"), ("node", "n"), ("at_ms", "0")];
        let fields = fields.map(|(name, value)| (name.into(), value.into())).to_vec();
        let found = [Noted { id: EntryId { ms: 1, seq: 0 }, fields }];
        let lines = table(&["ENTRY", "AT", "STATE", "REASON"], &["at_ms", "state", "reason"], &found).to_string();
        let row: Vec<&str> = lines.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["1-0", "1970-01-01T00:00:00Z", "stored", "-"]);
    }
}
