//! `=…`: expressions in CEL, typed, over the variables of a run.
//!
//! The grammar is read by the `cel` crate; what is evaluated is our own form of it, so that every step can be counted.
//! An expression is bounded three times: its text, the nesting and the items of its macros, and, whatever those allow
//! together, the steps and bytes of one evaluation. No clock and no thread is needed to end one.
//!
//! Three things differ from plain CEL, for the sake of JSON: whole numbers and doubles mix freely, `${path}` may stand
//! where a name may (for names that CEL can't write), and dotted names of variables are found by the longest one.

pub(super) use compile::regex_of as pattern;

mod compile;
mod evaluate;
mod functions;
mod placeholder;

use super::action::Fault;
use super::vars::Vars;
use functions::Function;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of an expression's text.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Macros inside macros: two can compare every item of a list with every other.
pub const MACRO_NESTING_MAX: usize = 2;
/// Items that one macro goes through.
pub const MACRO_ITEMS_MAX: usize = 1000;
/// Parts inside parts, macros or not: what a stack bears with room to spare.
const DEPTH_MAX: usize = 40;
/// Compiled expressions that a run keeps; a workflow has fewer, and pushed ones must not pile up.
const KEPT_MAX: usize = 512;

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Part,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {column} of the expression: {message}")]
pub struct Malformed {
    /// From 1, the first character after the `=`.
    pub column: usize,
    pub message: String,
}

impl Program {
    /// `text` is what stands after the `=`.
    pub fn compile(text: &str) -> Result<Program, Malformed> {
        compile::compile(text).map(|root| Program { root })
    }

    pub fn evaluate(&self, vars: &Vars) -> Result<Value, Fault> {
        evaluate::evaluate(&self.root, vars)
    }
}

/// The names that an expression reads, or what is wrong with it: for the check of documents. A `${path}` stands for
/// itself there, and what `has` asks about may be missing.
pub fn names_of(text: &str) -> Result<Vec<String>, String> {
    let program = Program::compile(text).map_err(|malformed| malformed.to_string())?;
    let mut names = Vec::new();
    program.root.names(&mut names);
    Ok(names)
}

impl Part {
    fn names(&self, names: &mut Vec<String>) {
        match self {
            Part::Name(name) => names.push(name.text.clone()),
            Part::Literal(_) | Part::Path { .. } | Part::Item(_) | Part::Has(_) => {}
            Part::Field(part, _) | Part::Not(part) | Part::Minus(part) => part.names(names),
            Part::Index(two) => [&two.0, &two.1].into_iter().for_each(|part| part.names(names)),
            Part::Choose(three) => {
                [&three.0, &three.1, &three.2].into_iter().for_each(|part| part.names(names));
            }
            Part::List(parts) | Part::All(parts) | Part::Any(parts) | Part::Call(_, parts) => {
                parts.iter().for_each(|part| part.names(names));
            }
            Part::Map(entries) => {
                entries.iter().flat_map(|(key, value)| [key, value]).for_each(|part| part.names(names));
            }
            Part::Chain(first, rest) => {
                first.names(names);
                rest.iter().for_each(|(_, part)| part.names(names));
            }
            Part::Each(_, target, bodies) => {
                target.names(names);
                bodies.iter().for_each(|part| part.names(names));
            }
        }
    }
}

/// Expressions that were compiled before: a loop must not read the same text a thousand times.
#[derive(Debug, Clone, Default)]
pub struct Kept(RefCell<BTreeMap<String, Arc<Program>>>);

impl Kept {
    pub fn evaluate(&self, text: &str, vars: &Vars) -> Result<Value, Fault> {
        let known = self.0.borrow().get(text).cloned();
        let program = match known {
            Some(program) => program,
            None => {
                let program =
                    Program::compile(text).map_err(|malformed| Fault::invalid(malformed.to_string()))?;
                let program = Arc::new(program);
                let mut kept = self.0.borrow_mut();
                if kept.len() >= KEPT_MAX {
                    kept.clear();
                }
                kept.insert(text.to_owned(), program.clone());
                program
            }
        };
        program.evaluate(vars)
    }
}

/// One part of an expression.
#[derive(Debug)]
enum Part {
    Literal(Value),
    /// A variable under a dotted name, and where the name may be cut: the longest flat name wins.
    Name(Name),
    /// `${path}` with its fallback.
    Path {
        path: String,
        fallback: Option<String>,
    },
    /// The item of the macro that is this many macros further out.
    Item(usize),
    Field(Box<Part>, String),
    Index(Box<(Part, Part)>),
    Has(Box<Part>),
    List(Vec<Part>),
    Map(Vec<(Part, Part)>),
    Not(Box<Part>),
    Minus(Box<Part>),
    All(Vec<Part>),
    Any(Vec<Part>),
    Choose(Box<(Part, Part, Part)>),
    /// `a + b - c`, from left to right, each operator with its right operand.
    Chain(Box<Part>, Vec<(Two, Part)>),
    Call(Function, Vec<Part>),
    Each(Each, Box<Part>, Vec<Part>),
}

#[derive(Debug)]
struct Name {
    text: String,
    /// Ends of its segments, shortest first.
    ends: Vec<usize>,
}

/// Operators of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Two {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// Macros over a list or the keys of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Each {
    All,
    Exists,
    ExistsOne,
    /// With two bodies: those for which the first holds.
    Map,
    Filter,
}

#[cfg(test)]
mod tests;
