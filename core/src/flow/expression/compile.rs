//! Text to parts, with everything that can be known before it runs.

use super::functions::{self, Function};
use super::placeholder::{self, Placeholders};
use super::{
    DEPTH_MAX, Each, MACRO_ITEMS_MAX, MACRO_NESTING_MAX, Malformed, Name, Part, TEXT_BYTES_MAX, Two,
};
use crate::flow::diagnostic::nearest;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::parser::PrattParser;
use serde_json::Value;

/// Bytes of a pattern: its program is bounded too, but need not be tried.
pub const PATTERN_BYTES_MAX: usize = 1024;

pub fn compile(text: &str) -> Result<Part, Malformed> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("expected at most {TEXT_BYTES_MAX} bytes, got {}", text.len());
        return Err(Malformed { column: 1, message });
    }
    if text.trim().is_empty() {
        return Err(Malformed { column: 1, message: "expected an expression after the \"=\"".to_owned() });
    }
    let placeholders = placeholder::replace(text)?;
    check_depth(&placeholders.text)?;
    // Of the crate's two readers the one that takes kilobytes of stack for a bracket, not hundreds of them.
    let parsed = PrattParser::new().max_recursion_depth(READER_DEPTH_MAX).parse(&placeholders.text);
    let parsed = parsed.map_err(|errors| first_of(&errors, &placeholders.text))?;
    let mut compiler = Compiler { placeholders: &placeholders, items: Vec::new(), word: String::new() };
    compiler.part(&parsed, 0).map_err(|message| {
        let at = placeholders.text.find(compiler.word.as_str()).unwrap_or(0);
        Malformed { column: characters(&placeholders.text, at) + 1, message }
    })
}

/// Above what [`check_depth`] lets through.
const READER_DEPTH_MAX: u16 = 96;

/// Characters before a byte of a text.
fn characters(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count()
}

/// Brackets and chains that a parser goes down into are counted before it does.
fn check_depth(text: &str) -> Result<(), Malformed> {
    let (mut depth, mut chain) = (0_usize, 0_usize);
    let mut quote = None;
    for (at, letter) in text.chars().enumerate() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '?' | '.') => chain += 1,
            _ => {}
        }
        if depth > DEPTH_MAX || chain > CHAIN_MAX {
            let message = if depth > DEPTH_MAX {
                format!("expected at most {DEPTH_MAX} brackets inside each other")
            } else {
                format!("expected at most {CHAIN_MAX} operators")
            };
            return Err(Malformed { column: at + 1, message });
        }
    }
    Ok(())
}

/// Operators of one expression: the grammar's own reader goes one deeper for each.
const CHAIN_MAX: usize = 200;

fn first_of(errors: &cel::ParseErrors, text: &str) -> Malformed {
    let Some(said) = errors.errors.first() else {
        return Malformed { column: 1, message: "expected an expression".to_owned() };
    };
    let (line, column) = (usize::try_from(said.pos.0).unwrap_or(1), usize::try_from(said.pos.1).unwrap_or(1));
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let message = said.msg.strip_prefix("Syntax error: ").unwrap_or(&said.msg);
    let message = message.replace("'<EOF>'", "the end").replace("<EOF>", "the end");
    Malformed { column: characters(text, before + column.saturating_sub(1)) + 1, message }
}

struct Compiler<'c> {
    placeholders: &'c Placeholders,
    /// Names of the items of the macros around, outermost first.
    items: Vec<String>,
    /// The name that was read last: the place of an error.
    word: String,
}

impl Compiler<'_> {
    fn part(&mut self, from: &IdedExpr, depth: usize) -> Result<Part, String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        let depth = depth + 1;
        match &from.expr {
            Expr::Literal(literal) => Self::literal(literal).map(Part::Literal),
            Expr::Ident(_) | Expr::Select(_) => self.path(from, depth),
            Expr::List(list) => {
                let items =
                    list.elements.iter().map(|item| self.part(item, depth)).collect::<Result<_, _>>()?;
                Ok(Part::List(items))
            }
            Expr::Map(map) => {
                let mut entries = Vec::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err("expected a key and a value".to_owned());
                    };
                    entries.push((self.part(&entry.key, depth)?, self.part(&entry.value, depth)?));
                }
                Ok(Part::Map(entries))
            }
            Expr::Call(call) => self.call(&call.func_name, call.target.as_deref(), &call.args, depth),
            Expr::Struct(_) => Err("messages can't be made here; a map is `{'key': value}`".to_owned()),
            Expr::Comprehension(_) | Expr::Unspecified => Err("expected an expression".to_owned()),
        }
    }

    fn literal(literal: &LiteralValue) -> Result<Value, String> {
        Ok(match literal {
            LiteralValue::Boolean(flag) => Value::Bool(*flag.inner()),
            LiteralValue::Double(number) => serde_json::Number::from_f64(*number.inner())
                .map(Value::Number)
                .ok_or("expected a finite number")?,
            LiteralValue::Int(number) => Value::from(*number.inner()),
            LiteralValue::UInt(number) => Value::from(*number.inner()),
            LiteralValue::String(text) => Value::from(text.inner()),
            LiteralValue::Null => Value::Null,
            LiteralValue::Bytes(_) => return Err("JSON has no bytes; expected text".to_owned()),
        })
    }

    /// A name, with the fields selected on it: `a.b.c` is one name as long as nothing else stands in between.
    fn path(&mut self, from: &IdedExpr, depth: usize) -> Result<Part, String> {
        let mut fields = Vec::new();
        let mut root = from;
        while let Expr::Select(select) = &root.expr {
            fields.push(select.field.as_str());
            root = &select.operand;
        }
        fields.reverse();
        let mut part = match &root.expr {
            Expr::Ident(name) => {
                // `.name` means the same as `name`.
                let name = name.strip_prefix('.').unwrap_or(name);
                name.clone_into(&mut self.word);
                if let Some((path, fallback)) = self.placeholders.names.get(name) {
                    if is_secret(path) {
                        return Err(SECRET.to_owned());
                    }
                    Part::Path { path: path.clone(), fallback: fallback.clone() }
                } else if let Some(out) = self.items.iter().rev().position(|item| item == name) {
                    Part::Item(out)
                } else if is_secret(name) {
                    return Err(SECRET.to_owned());
                } else {
                    return Ok(Part::Name(Name::of(name, &fields)));
                }
            }
            _ => self.part(root, depth)?,
        };
        for field in fields {
            part = Part::Field(Box::new(part), field.to_owned());
        }
        Ok(part)
    }

    fn call(
        &mut self,
        name: &str,
        target: Option<&IdedExpr>,
        args: &[IdedExpr],
        depth: usize,
    ) -> Result<Part, String> {
        let name = placeholder::macro_of(name).unwrap_or(name);
        match (name, target, args) {
            ("!_", None, [one]) => Ok(Part::Not(Box::new(self.part(one, depth)?))),
            ("-_", None, [one]) => Ok(Part::Minus(Box::new(self.part(one, depth)?))),
            ("_&&_" | "_||_", None, _) => {
                let mut parts = Vec::new();
                self.flatten(name, args, &mut parts, depth)?;
                Ok(if name == "_&&_" { Part::All(parts) } else { Part::Any(parts) })
            }
            ("_?_:_", None, [condition, yes, no]) => Ok(Part::Choose(Box::new((
                self.part(condition, depth)?,
                self.part(yes, depth)?,
                self.part(no, depth)?,
            )))),
            ("_[_]", None, [of, index]) => {
                Ok(Part::Index(Box::new((self.part(of, depth)?, self.part(index, depth)?))))
            }
            ("has", None, [one]) => match self.part(one, depth)? {
                path @ (Part::Name(_) | Part::Path { .. } | Part::Field(..) | Part::Index(_)) => {
                    Ok(Part::Has(Box::new(path)))
                }
                _ => Err("`has` takes a path: `has(a.b)`".to_owned()),
            },
            (_, None, [left, right]) if two(name).is_some() => self.chain(name, left, right, depth),
            (_, Some(target), [item, bodies @ ..]) if each(name, args.len()).is_some() => {
                let each = each(name, args.len()).ok_or("expected a macro")?;
                self.each(each, name, target, item, bodies, depth)
            }
            _ => {
                let count = args.len() + usize::from(target.is_some());
                name.clone_into(&mut self.word);
                let function = functions::find(name, target.is_some(), count).map_err(|wrong| {
                    let known =
                        functions::names().chain(["all", "exists", "exists_one", "map", "filter", "has"]);
                    match nearest(name, known) {
                        Some(near) if near != name => format!("{wrong}; did you mean `{near}`?"),
                        _ => wrong,
                    }
                })?;
                let all = target.into_iter().chain(args);
                let parts = all.map(|arg| self.part(arg, depth)).collect::<Result<Vec<_>, _>>()?;
                if function == Function::Matches
                    && let Some(Part::Literal(Value::String(pattern))) = parts.get(1)
                {
                    regex_of(pattern)?;
                }
                Ok(Part::Call(function, parts))
            }
        }
    }

    /// Operators are read from left to right, so a long sum leans to the left: it becomes one part, however long.
    fn chain(&mut self, name: &str, left: &IdedExpr, right: &IdedExpr, depth: usize) -> Result<Part, String> {
        let mut spine = vec![(name, right)];
        let mut first = left;
        while let Expr::Call(call) = &first.expr
            && let (None, [left, right], Some(_)) = (&call.target, call.args.as_slice(), two(&call.func_name))
        {
            spine.push((&call.func_name, right));
            first = left;
        }
        let first = self.part(first, depth)?;
        let mut rest = Vec::with_capacity(spine.len());
        for (name, right) in spine.into_iter().rev() {
            let operator = two(name).ok_or("expected an operator")?;
            rest.push((operator, self.part(right, depth)?));
        }
        Ok(Part::Chain(Box::new(first), rest))
    }

    /// `a && b && c` is one part of three.
    fn flatten(
        &mut self,
        name: &str,
        args: &[IdedExpr],
        parts: &mut Vec<Part>,
        depth: usize,
    ) -> Result<(), String> {
        for arg in args {
            match &arg.expr {
                Expr::Call(call) if call.func_name == name && call.target.is_none() && depth < DEPTH_MAX => {
                    self.flatten(name, &call.args, parts, depth + 1)?;
                }
                _ => parts.push(self.part(arg, depth)?),
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        each: Each,
        name: &str,
        target: &IdedExpr,
        item: &IdedExpr,
        bodies: &[IdedExpr],
        depth: usize,
    ) -> Result<Part, String> {
        let Expr::Ident(item) = &item.expr else {
            return Err(format!("`{name}` takes a name for the item first: `list.{name}(x, …)`"));
        };
        let target = self.part(target, depth)?;
        if let Part::List(items) = &target
            && items.len() > MACRO_ITEMS_MAX
        {
            return Err(format!(
                "`{name}` goes through at most {MACRO_ITEMS_MAX} items, got {}",
                items.len()
            ));
        }
        if self.items.len() >= MACRO_NESTING_MAX {
            return Err(format!("expected at most {MACRO_NESTING_MAX} macros inside each other"));
        }
        self.items.push(item.clone());
        let bodies = bodies.iter().map(|body| self.part(body, depth)).collect::<Result<_, _>>();
        self.items.pop();
        Ok(Part::Each(each, Box::new(target), bodies?))
    }
}

const SECRET: &str = "secrets can't be read by expressions; they may stand as \"${secret.NAME}\" in parameters of \
                      actions that talk to other systems";

fn is_secret(path: &str) -> bool {
    path.split(['.', '[']).next().unwrap_or(path).trim().eq_ignore_ascii_case("secret")
}

impl Name {
    /// Under the runtime's present words: `voipbin.call.caller_id` is `call.from`.
    fn of(root: &str, fields: &[&str]) -> Name {
        let mut segments: Vec<&str> = std::iter::once(root).chain(fields.iter().copied()).collect();
        if segments.len() > 1 && root == "voipbin" {
            segments.remove(0);
        }
        if let [first, second, ..] = segments.as_mut_slice()
            && (*first, *second) == ("call", "caller_id")
        {
            *second = "from";
        }
        let mut name = Name { text: String::new(), ends: Vec::new() };
        for segment in segments {
            if !name.text.is_empty() {
                name.text.push('.');
            }
            name.text.push_str(segment);
            name.ends.push(name.text.len());
        }
        name
    }
}

fn two(name: &str) -> Option<Two> {
    Some(match name {
        "_+_" => Two::Add,
        "_-_" => Two::Subtract,
        "_*_" => Two::Multiply,
        "_/_" => Two::Divide,
        "_%_" => Two::Remainder,
        "_==_" => Two::Equal,
        "_!=_" => Two::Unequal,
        "_<_" => Two::Less,
        "_<=_" => Two::LessOrEqual,
        "_>_" => Two::Greater,
        "_>=_" => Two::GreaterOrEqual,
        "@in" => Two::In,
        _ => return None,
    })
}

/// A macro by its name and its arguments, the item's name counted.
fn each(name: &str, count: usize) -> Option<Each> {
    Some(match (name, count) {
        ("all", 2) => Each::All,
        ("exists", 2) => Each::Exists,
        ("exists_one" | "existsOne", 2) => Each::ExistsOne,
        ("map", 2 | 3) => Each::Map,
        ("filter", 2) => Each::Filter,
        _ => return None,
    })
}

/// A pattern's program, bounded: it runs in time linear in the text, whatever it says.
pub fn regex_of(pattern: &str) -> Result<regex::Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, got {}", pattern.len()));
    }
    // A thousand times what a pattern of people needs, a thousandth of what the machine has.
    let regex =
        regex::RegexBuilder::new(pattern).size_limit(1 << 20).dfa_size_limit(1 << 20).nest_limit(50).build();
    regex.map_err(|_| format!("`{pattern}` is no pattern that can be matched"))
}
