//! What a program brings along into a pretend world: actions of its own, and the services that they ask.

use holdline_actors::port::service::Failed;
use holdline_core::flow::Vocabulary;
use holdline_core::flow::action::Action;
use holdline_core::flow::vocabulary::Unfit;
use holdline_core::http::{HttpReply, NoReply, Outcome, ReplyBody, ServiceCall};
use holdline_core::scene::ErrorClass;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

type Answer = dyn Fn(&ServiceCall) -> Result<Value, Failed> + Send + Sync;

/// A program's own words and services, for [`Story`](crate::Story) and for the stages.
#[derive(Clone, Default)]
pub struct Own {
    vocabulary: Arc<Vocabulary>,
    services: BTreeMap<String, Arc<Answer>>,
}

impl Own {
    /// With one more action.
    pub fn action(mut self, action: impl Action + 'static) -> Result<Own, Unfit> {
        let words = Arc::unwrap_or_clone(self.vocabulary).with_action(action)?;
        self.vocabulary = Arc::new(words);
        Ok(self)
    }

    /// What a service of this name answers. In virtual time it takes none.
    #[must_use]
    pub fn service(
        mut self,
        name: impl Into<String>,
        answer: impl Fn(&ServiceCall) -> Result<Value, Failed> + Send + Sync + 'static,
    ) -> Own {
        self.services.insert(name.into(), Arc::new(answer));
        self
    }

    /// The words that its workflows are written in.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn answer(&self, call: &ServiceCall) -> Outcome {
        let Some(service) = self.services.get(&call.service) else {
            let message =
                format!("the story has no service \"{}\"; give it one with `.service(…)`", call.service);
            return Err(NoReply { class: ErrorClass::Invalid, message });
        };
        match service(call) {
            Ok(value) => {
                Ok(HttpReply { status: 200, headers: BTreeMap::new(), body: ReplyBody::Json(value) })
            }
            Err(failed) => Err(NoReply { class: failed.class, message: failed.message }),
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("vocabulary", &self.vocabulary)
            .field("services", &self.services.keys())
            .finish()
    }
}
