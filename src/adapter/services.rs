//! Services of the program that holds the runtime, beside all other systems.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use holdline_actors::port::http::World;
use holdline_actors::port::service::Service;
use holdline_core::http::{Errand, HttpReply, NoReply, Outcome, ReplyBody};
use holdline_core::scene::ErrorClass;

/// A world in which the program's own services are asked by their names.
pub struct WithServices {
    services: BTreeMap<String, Arc<dyn Service>>,
    others: Arc<dyn World>,
}

impl WithServices {
    pub fn new(services: BTreeMap<String, Arc<dyn Service>>, others: Arc<dyn World>) -> WithServices {
        WithServices { services, others }
    }
}

impl World for WithServices {
    fn perform(&self, errand: Errand) -> BoxFuture<'static, Outcome> {
        let Errand::Service(call) = errand else { return self.others.perform(errand) };
        let Some(service) = self.services.get(&call.service).cloned() else {
            return futures::future::ready(Err(unknown_service(&call.service))).boxed();
        };
        async move {
            let limit = Duration::from_millis(call.timeout_ms);
            let name = call.service.clone();
            match tokio::time::timeout(limit, service.answer(*call)).await {
                Ok(Ok(value)) => {
                    Ok(HttpReply { status: 200, headers: BTreeMap::new(), body: ReplyBody::Json(value) })
                }
                Ok(Err(failed)) => Err(NoReply { class: failed.class, message: failed.message }),
                Err(_) => Err(NoReply {
                    class: ErrorClass::Timeout,
                    message: format!("the service \"{name}\" gave no answer within {limit:?}"),
                }),
            }
        }
        .boxed()
    }
}

/// An action asks what nobody has registered: no attempt will go better.
pub fn unknown_service(name: &str) -> NoReply {
    NoReply {
        class: ErrorClass::Invalid,
        message: format!("there is no service \"{name}\" in this program; register it with `.service(…)`"),
    }
}
