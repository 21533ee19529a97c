//! Parsing.

use std::collections::{BTreeSet, HashMap};

use super::lexer::{Spanned, Token, error, tokens};
use super::number::{Number, read_all};
use super::{Dims, TextError};
use crate::ir::graph::{Graph, InputKind, NodeId, Origin, Region};
use crate::ir::tensor::Tensor;
use crate::ir::types::{Attr, Attrs, DType, TensorType};
use crate::ops::{AttrType, lookup};

/// Parse one graph, with its symbolic dimensions bound.
///
/// # Errors
/// With line and column; all unbound dimensions at once.
pub fn parse(text: &str, dims: &Dims) -> Result<Graph, TextError> {
    let mut p = Parser::new(text, dims)?;
    let graph = p.graph();
    // A missing size is the cause of whatever did not fit after it.
    if !p.unbound.is_empty() {
        return Err(TextError::Unbound(p.unbound.into_iter().collect()));
    }
    let graph = graph?;
    p.expect_end()?;
    Ok(graph)
}

/// Parse the elements of a tensor of a known type, as (nested) lists of numbers or a lone number.
///
/// # Errors
/// If they are not numbers of that type, or not as many.
pub fn parse_value(ty: &TensorType, text: &str) -> Result<Tensor, TextError> {
    let dims = Dims::new();
    let mut p = Parser::new(text, &dims)?;
    let mut words = Vec::new();
    p.numbers(&mut words)?;
    p.expect_end()?;
    p.tensor_of(ty, &words)
}

/// An extent as written: a size or a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A number.
    Size(usize),
    /// A name to be bound.
    Symbol(String),
}

/// An input as its head declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Name.
    pub name: String,
    /// Who feeds it.
    pub kind: InputKind,
    /// Element type.
    pub dtype: DType,
    /// Extents, symbols unbound.
    pub extents: Vec<Extent>,
}

/// Parse only the inputs that the head of a graph declares.
///
/// # Errors
/// With line and column.
pub fn parse_inputs(text: &str) -> Result<Vec<Declared>, TextError> {
    let dims = Dims::new();
    let mut p = Parser::new(text, &dims)?;
    p.head()?;
    let mut out = Vec::new();
    p.separated(")", |p| {
        out.push(p.declared()?);
        Ok(())
    })?;
    Ok(out)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
    dims: &'a Dims,
    unbound: BTreeSet<String>,
    values: HashMap<String, NodeId>,
}

type Parsed<T> = Result<T, TextError>;

impl<'a> Parser<'a> {
    fn new(text: &'a str, dims: &'a Dims) -> Parsed<Self> {
        let tokens = tokens(text)?;
        Ok(Parser { text, tokens, at: 0, dims, unbound: BTreeSet::new(), values: HashMap::new() })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// An error at the token last taken.
    fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(error(self.text, self.tokens[self.at.saturating_sub(1)].1, message))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        if found {
            self.next();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        match self.next() {
            Token::Sign(s) if s == sign => Ok(()),
            other => self.error(format!("expected '{sign}', not {other}")),
        }
    }

    fn expect_end(&mut self) -> Parsed<()> {
        match self.next() {
            Token::End => Ok(()),
            other => Err(error(
                self.text,
                self.tokens[self.at - 1].1,
                format!("expected the end of the text, not {other}"),
            )),
        }
    }

    fn word(&mut self, what: &str) -> Parsed<String> {
        match self.next() {
            Token::Word(w) => Ok(w),
            other => self.error(format!("expected {what}, not {other}")),
        }
    }

    fn name(&mut self, what: &str) -> Parsed<String> {
        match self.next() {
            Token::Word(w) | Token::Str(w) => Ok(w),
            other => self.error(format!("expected {what}, not {other}")),
        }
    }

    fn separated(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        if self.eat(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(end) {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    /// `graph @name(`
    fn head(&mut self) -> Parsed<String> {
        if !self.eat_word("graph") {
            self.next();
            return self.error("expected 'graph'");
        }
        self.expect("@")?;
        let name = self.name("the name of the graph")?;
        self.expect("(")?;
        Ok(name)
    }

    fn graph(&mut self) -> Parsed<Graph> {
        let mut graph = Graph::new(self.head()?);
        self.separated(")", |p| p.parameter(&mut graph))?;
        self.expect("->")?;
        let mut results = vec![self.ty()?];
        while self.eat(",") {
            results.push(self.ty()?);
        }
        self.expect("{")?;
        while !self.eat_word("return") {
            self.statement(&mut graph)?;
        }
        loop {
            self.result(&mut graph)?;
            if !self.eat(",") {
                break;
            }
        }
        let got: Vec<_> = graph.outputs().iter().map(|(_, v)| graph.ty(*v).clone()).collect();
        if got != results {
            return self.error("the returned values are not of the types in the head".to_string());
        }
        self.expect("}")?;
        Ok(graph)
    }

    fn parameter(&mut self, graph: &mut Graph) -> Parsed<()> {
        let Declared { name, kind, dtype, extents } = self.declared()?;
        let shape = self.bind(extents);
        match graph.input(name.clone(), TensorType { dtype, shape }, kind) {
            Ok(node) => self.define(name, node),
            Err(e) => self.error(e.to_string()),
        }
    }

    fn declared(&mut self) -> Parsed<Declared> {
        let kind = match (self.eat_word("param"), self.eat_word("state")) {
            (true, _) => InputKind::Param,
            (_, true) => InputKind::State,
            _ => InputKind::Data,
        };
        self.expect("%")?;
        let name = self.name("the name of an input")?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        Ok(Declared { name, kind, dtype, extents: self.extents()? })
    }

    /// Sizes of extents; a symbol without one is noted and stands for 1.
    fn bind(&mut self, extents: Vec<Extent>) -> Vec<usize> {
        let size = |e: Extent| match e {
            Extent::Size(n) => n,
            Extent::Symbol(s) => self.dims.get(&s).copied().unwrap_or_else(|| {
                self.unbound.insert(s);
                1
            }),
        };
        extents.into_iter().map(size).collect()
    }

    fn define(&mut self, name: String, node: NodeId) -> Parsed<()> {
        match self.values.insert(name.clone(), node) {
            None => Ok(()),
            Some(_) => self.error(format!("%{name} is defined twice")),
        }
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let word = self.word("an element type")?;
        match DType::from_name(&word) {
            Some(d) => Ok(d),
            None => self.error(format!("'{word}' is no element type (f32, i32, i64, bool)")),
        }
    }

    fn extents(&mut self) -> Parsed<Vec<Extent>> {
        let mut out = Vec::new();
        self.expect("[")?;
        self.separated("]", |p| {
            let word = p.word("an extent")?;
            out.push(match word.parse() {
                Ok(n) => Extent::Size(n),
                _ if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                    Extent::Symbol(word)
                }
                _ => return p.error(format!("'{word}' is no extent")),
            });
            Ok(())
        })?;
        Ok(out)
    }

    fn ty(&mut self) -> Parsed<TensorType> {
        let dtype = self.dtype()?;
        let extents = self.extents()?;
        Ok(TensorType { dtype, shape: self.bind(extents) })
    }

    fn operand(&mut self) -> Parsed<NodeId> {
        self.expect("%")?;
        let name = self.name("the name of a value")?;
        match self.values.get(&name) {
            Some(v) => Ok(*v),
            None => self.error(format!("%{name} is not defined before its use")),
        }
    }

    fn statement(&mut self, graph: &mut Graph) -> Parsed<()> {
        self.expect("%")?;
        let name = self.name("the name of a value")?;
        self.expect("=")?;
        let op_name = self.word("an op")?;
        let op_place = self.tokens[self.at - 1].1;
        let Some(op) = lookup(&op_name) else {
            return self.error(format!("there is no op '{op_name}' (`pamc ops` lists them)"));
        };
        let mut inputs = Vec::new();
        while matches!(self.peek(), Token::Sign("%")) && (inputs.is_empty() || self.after_comma()) {
            inputs.push(self.operand()?);
            if !self.eat(",") {
                break;
            }
        }
        let mut attrs = Attrs::none();
        if self.eat("{") {
            self.separated("}", |p| {
                let key = p.word("the name of an attribute")?;
                let Some(spec) = op.attr(&key) else {
                    return p.error(format!("{op_name} has no attribute '{key}'"));
                };
                p.expect("=")?;
                attrs.set(spec.name, p.attr(spec.ty)?);
                Ok(())
            })?;
        }
        let origin = self.location()?;
        match graph.add(op, &inputs, attrs, origin) {
            Ok(node) => self.define(name, node),
            Err(e) => Err(error(self.text, op_place, e.to_string())),
        }
    }

    fn after_comma(&self) -> bool {
        self.at > 0 && matches!(self.tokens[self.at - 1].0, Token::Sign(","))
    }

    fn location(&mut self) -> Parsed<Origin> {
        let mut origin = Origin::default();
        if !self.eat_word("loc") {
            return Ok(origin);
        }
        self.expect("(")?;
        self.separated(")", |p| {
            if let Token::Str(s) = p.peek() {
                origin.source = s.as_str().into();
                p.next();
                return Ok(());
            }
            let key = p.word("scope, op or region")?;
            p.expect("=")?;
            let value = p.name("its value")?;
            match key.as_str() {
                "scope" => origin.scope = value.into(),
                "op" => origin.op = value.into(),
                "region" => {
                    let all = [Region::Forward, Region::Loss, Region::Backward, Region::Optimizer];
                    match all.into_iter().find(|r| r.to_string() == value) {
                        Some(r) => origin.region = r,
                        None => return p.error(format!("'{value}' is no region")),
                    }
                }
                _ => return p.error(format!("'{key}' is not scope, op or region")),
            }
            Ok(())
        })?;
        Ok(origin)
    }

    fn result(&mut self, graph: &mut Graph) -> Parsed<()> {
        let value = |p: &mut Self| {
            let node = p.operand()?;
            let (Token::Word(n) | Token::Str(n)) = &p.tokens[p.at - 1].0 else {
                return p.error("expected a name");
            };
            Ok((n.clone(), node))
        };
        let (name, node) = if matches!(self.peek(), Token::Sign("%")) {
            value(self)?
        } else {
            let name = self.name("the name of an output")?;
            self.expect("=")?;
            (name, value(self)?.1)
        };
        graph.output(name, node).or_else(|e| self.error(e.to_string()))
    }

    fn attr(&mut self, ty: AttrType) -> Parsed<Attr> {
        Ok(match ty {
            AttrType::Int => Attr::Int(self.number()?),
            AttrType::Float => Attr::Float(self.number()?),
            AttrType::Bool => Attr::Bool(self.number()?),
            AttrType::DType => Attr::DType(self.dtype()?),
            AttrType::Str => match self.next() {
                Token::Str(s) => Attr::Str(s.into()),
                other => return self.error(format!("expected a string, not {other}")),
            },
            AttrType::Ints => {
                let mut out = Vec::new();
                self.expect("[")?;
                self.separated("]", |p| {
                    out.push(p.number()?);
                    Ok(())
                })?;
                Attr::Ints(out)
            }
            AttrType::Tensor => Attr::Tensor(self.tensor()?),
        })
    }

    fn number<T: Number>(&mut self) -> Parsed<T> {
        let word = self.word("a number")?;
        match T::read(&word) {
            Some(x) => Ok(x),
            None => self.error(format!("'{word}' is not of type {}", T::DTYPE)),
        }
    }

    fn tensor(&mut self) -> Parsed<Tensor> {
        let ty = self.ty()?;
        if let Token::Str(hex) = self.peek() {
            let digit = |c: u8| (c as char).to_digit(16);
            let byte = |c: &[u8]| Some((digit(c[0])? * 16 + digit(*c.get(1)?)?) as u8);
            let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
            let tensor = bytes.and_then(|b| Tensor::from_bytes(&ty, &b));
            self.next();
            return match tensor {
                Some(t) => Ok(t),
                None => self.error(format!("expected {} bytes in hex for {ty}", ty.bytes())),
            };
        }
        let mut words = Vec::new();
        self.numbers(&mut words)?;
        self.tensor_of(&ty, &words)
    }

    /// Flatten (nested) lists of numbers, or take a lone number.
    fn numbers(&mut self, out: &mut Vec<String>) -> Parsed<()> {
        let mut depth = 0usize;
        loop {
            if self.eat("[") {
                depth += 1;
                continue;
            }
            if !matches!(self.peek(), Token::Sign("]")) {
                out.push(self.word("a number")?);
            }
            while depth > 0 && self.eat("]") {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn tensor_of(&self, ty: &TensorType, words: &[String]) -> Parsed<Tensor> {
        let made = match ty.dtype {
            DType::F32 => read_all::<f32>(ty, words),
            DType::I32 => read_all::<i32>(ty, words),
            DType::I64 => read_all::<i64>(ty, words),
            DType::Bool => read_all::<bool>(ty, words),
        };
        made.or_else(|e| self.error(e))
    }
}
