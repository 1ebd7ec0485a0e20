//! The words of the language: which actions and triggers a document may name. The house's own, and those that a program
//! brings along.

use super::action::{Action, LATER, STANDARD};
use super::declare::{Declared, Kind, Parameter, Shape};
use super::parse::Language;
use super::script::Defaults;
use super::trigger;
use crate::limit::Limits;
use std::fmt;
use std::sync::LazyLock;

/// The actions and triggers that documents may name. It travels with the workflows: whoever looks one up
/// ([`Flows::vocabulary`](super::flows::Flows::vocabulary)) finds the words that it is written in, too.
#[derive(Clone)]
pub struct Vocabulary {
    /// By name, in order.
    actions: Vec<&'static dyn Action>,
    declared: Vec<&'static Declared>,
    triggers: Vec<&'static trigger::Declared>,
}

/// Why an action or a trigger of one's own is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Another one answers to this word.
    #[error(
        "the word \"{0}\" is taken; give your own a prefix, as in \"acme/{0}\", so that no later version takes it, too"
    )]
    Taken(String),
    /// Documents could not be read with it.
    #[error(
        "\"{0}\" can't be a type: expected letters, digits, `_` and `-`, in parts that are separated by `/`, beginning \
         with a letter"
    )]
    Name(String),
    /// A parameter that nobody could give.
    #[error("\"{action}\" can't have a parameter \"{parameter}\": {why}")]
    Parameter {
        /// The action's name.
        action: String,
        /// The parameter's.
        parameter: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What is declared contradicts itself.
    #[error("\"{action}\" {why}")]
    Contradiction {
        /// The action's name.
        action: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Vocabulary {
    /// What every document may say.
    pub fn standard() -> &'static Vocabulary {
        static TABLE: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary {
            actions: STANDARD.to_vec(),
            declared: STANDARD.iter().map(|action| action.declared()).collect(),
            triggers: trigger::TABLE.to_vec(),
        });
        &TABLE
    }

    /// With one more action.
    ///
    /// The action lives as long as the process, which is what lets every run of every thread reach it without counting:
    /// take it in at the start, once, and not for every call.
    pub fn with_action(mut self, action: impl Action + 'static) -> Result<Vocabulary, Unfit> {
        let declared = action.declared();
        self.check(declared)?;
        let place = self.actions.partition_point(|known| known.declared().name < declared.name);
        self.actions.insert(place, Box::leak(Box::new(action)));
        self.declared.insert(place, declared);
        Ok(self)
    }

    /// With one more trigger.
    pub fn with_trigger(mut self, trigger: &'static trigger::Declared) -> Result<Vocabulary, Unfit> {
        let name = trigger.name;
        if self.triggers.iter().any(|known| known.name == name) {
            return Err(Unfit::Taken(name.to_owned()));
        }
        if !is_type(name) {
            return Err(Unfit::Name(name.to_owned()));
        }
        check_parameters(name, trigger.parameters)?;
        if trigger.hands_call_on {
            let why = "can't hand a call on: that is what the phone network's own trigger does";
            return Err(Unfit::Contradiction { action: name.to_owned(), why });
        }
        self.triggers.push(trigger);
        Ok(self)
    }

    /// The action of a canonical type.
    pub fn find(&self, kind: &str) -> Option<&'static dyn Action> {
        let at = self.actions.binary_search_by(|action| action.declared().name.cmp(kind)).ok()?;
        self.actions.get(at).copied()
    }

    /// What every action declares of itself, by name.
    pub fn declared(&self) -> &[&'static Declared] {
        &self.declared
    }

    /// What every trigger declares of itself.
    pub fn triggers(&self) -> &[&'static trigger::Declared] {
        &self.triggers
    }

    /// What documents in these words may say.
    pub fn language<'l>(&'l self, limits: &'l Limits) -> Language<'l> {
        Language { triggers: &self.triggers, ..Language::new(&self.declared, LATER, limits) }
    }

    /// As [`Vocabulary::language`], with what the configuration says for documents that don't.
    pub fn configured<'l>(
        &'l self,
        limits: &'l Limits,
        defaults: &'l Defaults,
        timezone: &'l str,
    ) -> Language<'l> {
        Language { defaults, timezone, ..self.language(limits) }
    }

    fn check(&self, declared: &Declared) -> Result<(), Unfit> {
        let name = declared.name;
        for word in std::iter::once(&name).chain(declared.aliases) {
            let answers = |known: &&Declared| known.name == *word || known.aliases.contains(word);
            if self.declared.iter().copied().any(|known| answers(&known)) || LATER.contains(word) {
                return Err(Unfit::Taken((*word).to_owned()));
            }
            if !is_type(word) {
                return Err(Unfit::Name((*word).to_owned()));
            }
        }
        check_parameters(name, declared.parameters)?;
        if declared.kind == Kind::Child {
            let why = "can't be of the kind that runs other workflows: only the language's own does";
            return Err(Unfit::Contradiction { action: name.to_owned(), why });
        }
        if declared.kind == Kind::Io && !declared.waits {
            let why = "talks to the world and says that it doesn't wait for it: declare `.waits()`";
            return Err(Unfit::Contradiction { action: name.to_owned(), why });
        }
        Ok(())
    }
}

/// As the documents write types.
fn is_type(word: &str) -> bool {
    let letter = |part: &str| part.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    word.len() <= TYPE_BYTES_MAX && word.split('/').all(|part| letter(part) && plain(part))
}

fn check_parameters(action: &str, parameters: &[Parameter]) -> Result<(), Unfit> {
    let refuse = |parameter: &str, why| {
        Err(Unfit::Parameter { action: action.to_owned(), parameter: parameter.to_owned(), why })
    };
    let mut seen = Vec::new();
    for parameter in parameters {
        for word in std::iter::once(&parameter.name).chain(parameter.aliases) {
            if word.is_empty() || seen.contains(word) {
                return refuse(word, "each name is there once, and not empty");
            }
            seen.push(*word);
        }
        if matches!(parameter.shape, Shape::Actions | Shape::ActionsOrWorkflow) {
            return refuse(parameter.name, "lists of actions are for the language's own actions");
        }
    }
    Ok(())
}

/// Longer names are mistakes.
const TYPE_BYTES_MAX: usize = 100;

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (actions, triggers) = (self.declared.iter(), self.triggers.iter());
        f.debug_struct("Vocabulary")
            .field("actions", &actions.map(|declared| declared.name).collect::<Vec<_>>())
            .field("triggers", &triggers.map(|declared| declared.name).collect::<Vec<_>>())
            .finish()
    }
}

impl Default for Vocabulary {
    fn default() -> Vocabulary {
        Vocabulary::standard().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::action::{Done, Fault, Scene, Step};

    struct Own(&'static Declared);

    impl Action for Own {
        fn declared(&self) -> &'static Declared {
            self.0
        }

        fn begin(&self, _: &mut Scene<'_>) -> Result<Step, Fault> {
            Ok(Step::Done(Done::default()))
        }
    }

    #[test]
    fn an_action_of_ones_own_is_found_beside_the_others_and_one_that_does_not_fit_is_refused() {
        static OWN: Declared = Declared::new("acme/look-up", "Looks up.", Kind::Io).waits();
        let words = Vocabulary::default().with_action(Own(&OWN)).unwrap();
        assert!(words.find("acme/look-up").is_some() && words.find("talk").is_some());
        assert!(Vocabulary::standard().find("acme/look-up").is_none());
        let names: Vec<&str> = words.declared().iter().map(|declared| declared.name).collect();
        assert!(names.is_sorted() && names.len() == Vocabulary::standard().declared().len() + 1);

        static TWICE: [Parameter; 2] =
            [Parameter::required("a", Shape::Text, ""), Parameter::optional("a", Shape::Text, "")];
        static LISTS: [Parameter; 1] = [Parameter::required("then", Shape::Actions, "")];
        let kinds: [(Declared, &str); 8] = [
            (OWN, "is taken"),
            (Declared::new("talk", "", Kind::Media), "is taken"),
            (Declared::new("parallel", "", Kind::Control), "is taken"),
            (Declared::new("stream_echo", "", Kind::Media), "is taken"),
            (Declared::new("acme look", "", Kind::Control), "can't be a type"),
            (Declared::new("acme/a", "", Kind::Control).parameters(&TWICE), "each name is there once"),
            (Declared::new("acme/a", "", Kind::Control).parameters(&LISTS), "lists of actions"),
            (Declared::new("acme/a", "", Kind::Io), "declare `.waits()`"),
        ];
        for (declared, why) in kinds {
            let refused = words.clone().with_action(Own(Box::leak(Box::new(declared)))).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        static LEAD: trigger::Declared = trigger::Declared::new("acme/lead", "A lead came in.");
        let words = words.with_trigger(&LEAD).unwrap();
        assert!(words.with_trigger(&LEAD).is_err());
    }
}
