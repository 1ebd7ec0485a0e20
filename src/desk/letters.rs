//! Dead letters: messages that nobody took, kept until somebody asks for them again.

use holdline_actors::journal_writer::{List, Read};
use holdline_actors::outbox::{Redrive, folded};
use holdline_actors::port::journal::{Kind, Listed};
use holdline_core::fact::{DeliveryId, Key};
use holdline_core::http::Endpoint;
use holdline_core::secret;
use holdline_core::time::rfc3339_ms;
use holdline_core::workflow::outbox::{Row as Letter, State};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, gone, unreadable};
use crate::web::page::{Cursor, Page, Row};
use crate::web::problem::{Code, Problem};

/// Stories read at once while dead ones are looked for.
const BATCH: usize = 100;

impl Desk {
    /// Newest first.
    pub async fn dead_letters(&self, page: &Page) -> Result<Vec<Row>, Problem> {
        let mut after = page.after.as_ref().map(|cursor| cursor.created_ms);
        let mut rows = Vec::new();
        loop {
            let list = List { kind: Kind::Deliveries, after, limit: BATCH };
            let stories = self.journal.send(list).await.map_err(gone)?.map_err(unreadable)?;
            let read = stories.len();
            for (Listed { place, .. }, entries) in stories {
                after = Some(place);
                let Some(letter) = folded(&entries).filter(|letter| letter.state == State::Dead) else {
                    continue;
                };
                let id = letter.delivery.id.to_string();
                rows.push(Row { cursor: Cursor { created_ms: place, id }, value: shown(&letter) });
                if rows.len() >= page.wanted() {
                    return Ok(rows);
                }
            }
            if read < BATCH {
                return Ok(rows);
            }
        }
    }

    /// Asks for it to be sent again. One that is under way already is left alone.
    pub async fn redrive(&self, id: &str) -> Result<Value, Problem> {
        let unknown = || Problem::new(Code::NotFound, format!("there is no dead letter {id}"));
        let delivery = DeliveryId(Uuid::parse_str(id).map_err(|_| unknown())?);
        let read = self.journal.send(Read(Key::Delivery(delivery))).await.map_err(gone)?;
        let letter = folded(&read.map_err(unreadable)?).ok_or_else(unknown)?;
        self.outbox.send(Redrive(delivery)).await.map_err(gone)?;
        Ok(shown(&letter))
    }
}

fn shown(letter: &Letter) -> Value {
    let call = &letter.delivery.call;
    let (Endpoint::Url(to)
    | Endpoint::Operator(to)
    | Endpoint::OpenAi(to)
    | Endpoint::Salesforce(to)
    | Endpoint::Twilio(to)) = &call.endpoint;
    json!({
        "id": letter.delivery.id,
        "kind": "delivery",
        "method": call.method,
        "uri": secret::shown(to),
        "attempts": letter.attempts,
        "error": letter.error,
        "tm_create": rfc3339_ms(letter.delivery.owed_at),
    })
}
