//! Writes all mutants of `cargo mutants --list --json` into the source at once, each behind a number that is chosen when the
//! program runs (mutant schemata: Untch, Offutt, Harrold, 1993), so that one build serves them all.
//!
//! `schemata ROOT MUTANTS.json LEFT_OUT` rewrites the files below ROOT in place. `LEFT_OUT` is a comma separated list of indices
//! into the JSON that are not to be written, because they do not compile. Prints `NUMBER INDEX` for each that was written and
//! `- INDEX` for each that cannot be chosen at run time (in constants).
//!
//! Every alternative begins with a line `/*M number*/` and ends with a line `/*E*/`, so that a compiler error can be
//! traced to its mutant.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What a piece of source is to become.
enum Change {
    /// `left op right` with other operators.
    Binary(Range<usize>, Range<usize>),
    /// `op operand` without the operator.
    Unary(Range<usize>),
    /// A body that returns at once; the range is empty.
    Body,
    /// Another guard.
    Guard,
    /// An arm that is not there: the range is empty and behind the pattern.
    Arm,
    /// The guard of an arm that is not there.
    GuardedArm,
    /// A field's value, its name, and what the base has instead.
    Field(Range<usize>, String, String),
}

/// Index, genre and replacement of a mutant.
type Wanted = (usize, String, String);
/// Index or number, and replacement, of each mutant of a place.
type Numbered = Vec<(usize, String)>;

struct Site {
    range: Range<usize>,
    change: Change,
    /// Number and replacement of each mutant.
    mutants: Numbered,
}

struct Finder<'a> {
    source: &'a str,
    /// By span: the mutants that are left to place.
    wanted: BTreeMap<(usize, usize), Vec<Wanted>>,
    sites: Vec<(Range<usize>, Change, Numbered)>,
    constants: Vec<usize>,
    in_const: usize,
}

impl Finder<'_> {
    fn take(&mut self, span: &Range<usize>, genre: &str) -> Numbered {
        let key = (span.start, span.end);
        let Some(all) = self.wanted.remove(&key) else { return Vec::new() };
        let (hit, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, g, _)| g == genre);
        if !rest.is_empty() {
            self.wanted.insert(key, rest);
        }
        if self.in_const > 0 {
            self.constants.extend(hit.iter().map(|(index, ..)| *index));
            return Vec::new();
        }
        hit.into_iter().map(|(index, _, replacement)| (index, replacement)).collect()
    }

    fn place(&mut self, span: &Range<usize>, genre: &str, range: Range<usize>, change: Change) {
        let mutants = self.take(span, genre);
        if !mutants.is_empty() {
            self.sites.push((range, change, mutants));
        }
    }

    fn body(&mut self, block: &syn::Block) {
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        let span = first.span().byte_range().start..last.span().byte_range().end;
        let at = span.start;
        self.place(&span, "FnValue", at..at, Change::Body);
    }

    fn constant(&mut self, is_const: bool, visit: impl FnOnce(&mut Self)) {
        self.in_const += usize::from(is_const);
        visit(self);
        self.in_const -= usize::from(is_const);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.constant(item.sig.constness.is_some(), |this| {
            this.body(&item.block);
            visit::visit_item_fn(this, item);
        });
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.constant(item.sig.constness.is_some(), |this| {
            this.body(&item.block);
            visit::visit_impl_item_fn(this, item);
        });
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(block);
        }
        visit::visit_trait_item_fn(self, item);
    }
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(true, |this| visit::visit_item_const(this, item));
    }
    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(true, |this| visit::visit_item_static(this, item));
    }
    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(true, |this| visit::visit_impl_item_const(this, item));
    }
    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.constant(true, |this| visit::visit_trait_item_const(this, item));
    }
    fn visit_expr_const(&mut self, expr: &'ast syn::ExprConst) {
        self.constant(true, |this| visit::visit_expr_const(this, expr));
    }
    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.constant(true, |this| visit::visit_type_array(this, array));
    }
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.constant(true, |this| this.visit_expr(&repeat.len));
    }
    fn visit_generic_argument(&mut self, argument: &'ast syn::GenericArgument) {
        let is_const = matches!(argument, syn::GenericArgument::Const(_));
        self.constant(is_const, |this| visit::visit_generic_argument(this, argument));
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let change = Change::Binary(expr.left.span().byte_range(), expr.right.span().byte_range());
        self.place(&expr.op.span().byte_range(), "BinaryOperator", expr.span().byte_range(), change);
        visit::visit_expr_binary(self, expr);
    }
    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        let change = Change::Unary(expr.expr.span().byte_range());
        self.place(&expr.op.span().byte_range(), "UnaryOperator", expr.span().byte_range(), change);
        visit::visit_expr_unary(self, expr);
    }
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let arm_span = arm.span().byte_range();
        match &arm.guard {
            Some((_, guard)) => {
                let range = guard.span().byte_range();
                self.place(&range, "MatchArmGuard", range.clone(), Change::Guard);
                self.place(&arm_span, "MatchArm", range, Change::GuardedArm);
            }
            None => {
                let end = arm.pat.span().byte_range().end;
                self.place(&arm_span, "MatchArm", end..end, Change::Arm);
            }
        }
        visit::visit_arm(self, arm);
    }
    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        if let Some(base) = &expr.rest {
            for field in &expr.fields {
                let range = field.span().byte_range();
                let name = self.source[field.member.span().byte_range()].to_owned();
                let value = field.expr.span().byte_range();
                let text = format!("({}).{name}", &self.source[base.span().byte_range()]);
                // The list's span has the comma, too; where it starts says enough.
                let start = range.start..range.start;
                self.place(&start, "StructField", range, Change::Field(value, name, text));
            }
        }
        visit::visit_expr_struct(self, expr);
    }
}

/// The source with every site in `range` replaced. `sites` are sorted, an outer one before those inside it.
fn render(source: &str, range: Range<usize>, sites: &[Site], out: &mut String) {
    let mut at = range.start;
    let mut index = 0;
    while let Some(site) = sites.get(index) {
        out.push_str(&source[at..site.range.start]);
        let inner = sites[index + 1..].iter().take_while(|inner| inner.range.start < site.range.end).count();
        let inside = &sites[index + 1..=index + inner];
        replace(source, site, inside, out);
        at = site.range.end;
        index += inner + 1;
    }
    out.push_str(&source[at..range.end]);
}

fn part(source: &str, range: &Range<usize>, sites: &[Site], out: &mut String) {
    let from = sites.partition_point(|site| site.range.start < range.start);
    let to = sites.partition_point(|site| site.range.start < range.end);
    render(source, range.clone(), &sites[from..to], out);
}

fn replace(source: &str, site: &Site, inside: &[Site], out: &mut String) {
    let (low, high) = (site.mutants[0].0, site.mutants[site.mutants.len() - 1].0);
    let choice = format!("match crate::chosen_mutant::at({low}, {high}) {{");
    let mut arms = String::new();
    for (number, replacement) in &site.mutants {
        let text = match &site.change {
            Change::Binary(left, right) => {
                let (left, right) = (&source[left.clone()], &source[right.clone()]);
                if replacement.len() >= 2
                    && replacement.ends_with('=')
                    && !matches!(&replacement[..], "==" | "!=" | "<=" | ">=")
                {
                    format!("{left} {replacement} {right}")
                } else {
                    format!("({left}) {replacement} ({right})")
                }
            }
            Change::Unary(operand) => source[operand.clone()].to_owned(),
            Change::Body => format!("return {replacement}"),
            Change::Guard => replacement.clone(),
            Change::Arm | Change::GuardedArm => "false".to_owned(),
            Change::Field(_, _, text) => text.clone(),
        };
        write!(arms, "\n/*M{number}*/ {number} => {{ {text} }}\n/*E*/").expect("a string");
    }
    match &site.change {
        Change::Binary(left, right) => {
            write!(out, "({choice}{arms} _ => {{ ").expect("a string");
            part(source, left, inside, out);
            out.push_str(&source[left.end..right.start]);
            part(source, right, inside, out);
            out.push_str(" } })");
        }
        Change::Unary(_) | Change::Guard => {
            write!(out, "({choice}{arms} _ => {{ ").expect("a string");
            render(source, site.range.clone(), inside, out);
            out.push_str(" } })");
        }
        Change::GuardedArm => {
            write!(out, "({choice}{arms} _ => {{ ").expect("a string");
            render(source, site.range.clone(), inside, out);
            out.push_str(" } })");
        }
        Change::Arm => write!(out, " if {choice}{arms} _ => true }}").expect("a string"),
        Change::Body => writeln!(out, "{choice}{arms} _ => {{}} }}").expect("a string"),
        Change::Field(value, name, _) => {
            write!(out, "{name}: {choice}{arms} _ => {{ ").expect("a string");
            part(source, value, inside, out);
            out.push_str(" } }");
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("ROOT MUTANTS.json LEFT_OUT");
    let (root, list, left_out) = (next(), next(), next());
    let left_out: HashSet<usize> = left_out.split(',').filter_map(|index| index.parse().ok()).collect();
    let mutants: Value = serde_json::from_str(&std::fs::read_to_string(list).expect("the list")).expect("JSON");
    let mut files: BTreeMap<String, Vec<(usize, &Value)>> = BTreeMap::new();
    for (index, mutant) in mutants.as_array().expect("a list").iter().enumerate() {
        if !left_out.contains(&index) {
            files.entry(mutant["file"].as_str().expect("a file").to_owned()).or_default().push((index, mutant));
        }
    }
    let mut number = 0;
    for (file, mutants) in files {
        let path = format!("{root}/{file}");
        let source = std::fs::read_to_string(&path).expect("a source file");
        let lines: Vec<usize> = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let offset = |place: &Value| {
            let (line, column) = (
                place["line"].as_u64().expect("a line") as usize,
                place["column"].as_u64().expect("a column") as usize,
            );
            let start = lines[line - 1];
            source[start..].char_indices().nth(column - 1).map_or(source.len(), |(at, _)| start + at)
        };
        let mut finder =
            Finder { source: &source, wanted: BTreeMap::new(), sites: Vec::new(), constants: Vec::new(), in_const: 0 };
        for (index, mutant) in mutants {
            let text = |name: &str| mutant[name].as_str().unwrap_or_default().to_owned();
            let start = offset(&mutant["span"]["start"]);
            let end = if text("genre") == "StructField" { start } else { offset(&mutant["span"]["end"]) };
            let span = (start, end);
            finder.wanted.entry(span).or_default().push((index, text("genre"), text("replacement")));
        }
        finder.visit_file(&syn::parse_file(&source).expect("Rust"));
        for index in finder.constants.iter().chain(finder.wanted.values().flatten().map(|(index, ..)| index)) {
            println!("- {index}");
        }
        let mut found = finder.sites;
        found.sort_by_key(|(range, ..)| (range.start, !range.is_empty(), std::cmp::Reverse(range.end)));
        let mut sites = Vec::new();
        for (range, change, mutants) in found {
            let mut numbered = Vec::new();
            for (index, replacement) in mutants {
                number += 1;
                println!("{number} {index}");
                numbered.push((number, replacement));
            }
            sites.push(Site { range, change, mutants: numbered });
        }
        let mut out = String::new();
        render(&source, 0..source.len(), &sites, &mut out);
        std::fs::write(&path, out).expect("written");
    }
}
