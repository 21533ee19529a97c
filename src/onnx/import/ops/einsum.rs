//! Einsum: operands joined from left to right by matrix products.

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid};

type Out = Made<Vec<Value>>;

/// A value whose axes have labels. Axes under an ellipsis get numbers, from the last one on.
#[derive(Clone)]
struct Term {
    value: Value,
    labels: Vec<char>,
}

/// The label of the n-th axis from the end under an ellipsis.
fn dots(n: usize) -> char {
    char::from_u32(0xe000 + n as u32).unwrap_or('\u{e000}')
}

fn labels(text: &str, rank: Option<usize>, dotted: &mut usize) -> Made<Vec<char>> {
    let Some((before, after)) = text.split_once("...") else { return Ok(text.chars().collect()) };
    let named = before.chars().count() + after.chars().count();
    let under = match rank {
        Some(rank) => match rank.checked_sub(named) {
            Some(under) => under,
            None => return invalid(format!("`{text}` for an operand of rank {rank}")),
        },
        None => *dotted,
    };
    *dotted = under.max(*dotted);
    let middle = (0..under).rev().map(dots);
    Ok(before.chars().chain(middle).chain(after.chars()).collect())
}

/// Axes with one label twice reduced to their diagonal.
fn diagonal(s: &mut Site, mut term: Term) -> Made<Term> {
    loop {
        let twice = |i: &usize| term.labels[i + 1..].contains(&term.labels[*i]);
        let Some(i) = (0..term.labels.len()).find(twice) else { return Ok(term) };
        let label = term.labels[i];
        let j = i + 1 + term.labels[i + 1..].iter().position(|&l| l == label).unwrap_or(0);
        let shape = s.b.shape(&term.value);
        let (n, rank) = (shape[i], shape.len());
        if shape[j] != n {
            return invalid(format!("label `{label}` has extents {n} and {}", shape[j]));
        }
        let mut perm: Vec<usize> = (0..rank).filter(|&a| a != i && a != j).collect();
        let outer: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
        perm.extend([i, j]);
        let x = s.b.transpose(&term.value, &perm)?;
        // Every (n + 1)-th element of the last two axes taken as one.
        let flat = s.b.reshape(&x, &[&outer[..], &[n * n]].concat())?;
        let (mut steps, mut sizes) = (vec![1; rank - 1], outer.clone());
        sizes.push(n);
        steps[rank - 2] = n as i64 + 1;
        let starts = vec![0; rank - 1];
        let value = s.b.slice_by(&flat, &starts, &sizes, Some(&steps))?;
        let mut kept: Vec<char> = perm[..rank - 2].iter().map(|&a| term.labels[a]).collect();
        kept.push(label);
        term = Term { value, labels: kept };
    }
}

/// Sums over the labels that nothing else needs.
fn summed(s: &mut Site, term: Term, kept: &dyn Fn(char) -> bool) -> Made<Term> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|&i| !kept(term.labels[i])).collect();
    let value = s.b.sum(&term.value, &axes, false)?;
    Ok(Term { value, labels: term.labels.into_iter().filter(|&l| kept(l)).collect() })
}

/// The axes in the order of `labels`, those it lacks as 1.
fn arranged(s: &mut Site, term: &Term, labels: &[char]) -> Made {
    let have: Vec<char> = labels.iter().copied().filter(|l| term.labels.contains(l)).collect();
    let place = |l: &char| term.labels.iter().position(|t| t == l).unwrap_or(0);
    let value = s.b.transpose(&term.value, &have.iter().map(place).collect::<Vec<_>>())?;
    let shape = s.b.shape(&value);
    let extent = |l: &char| have.iter().position(|h| h == l).map_or(1, |i| shape[i]);
    s.b.reshape(&value, &labels.iter().map(extent).collect::<Vec<_>>())
}

/// The product of two terms, summed over the labels of both that nothing else needs.
fn joined(s: &mut Site, a: Term, b: Term, kept: &dyn Fn(char) -> bool) -> Made<Term> {
    let a = {
        let also = |l: char| kept(l) || b.labels.contains(&l);
        summed(s, a, &also)?
    };
    let b = {
        let also = |l: char| kept(l) || a.labels.contains(&l);
        summed(s, b, &also)?
    };
    let both = |l: &char| a.labels.contains(l) && b.labels.contains(l);
    let pick = |t: &Term, f: &dyn Fn(&char) -> bool| -> Vec<char> {
        t.labels.iter().copied().filter(|l| f(l)).collect()
    };
    let batch = pick(&a, &|l| both(l) && kept(*l));
    let over = pick(&a, &|l| both(l) && !kept(*l));
    let (rows, cols) = (pick(&a, &|l| !both(l)), pick(&b, &|l| !both(l)));
    if over.is_empty() {
        let all = [&batch[..], &rows, &cols].concat();
        let (x, y) = (arranged(s, &a, &all)?, arranged(s, &b, &all)?);
        return Ok(Term { value: s.b.mul(&x, &y)?, labels: all });
    }
    let x = arranged(s, &a, &[&batch[..], &rows, &over].concat())?;
    let y = arranged(s, &b, &[&batch[..], &over, &cols].concat())?;
    let (xs, ys) = (s.b.shape(&x), s.b.shape(&y));
    let (nb, nr, no) = (batch.len(), rows.len(), over.len());
    if xs[nb + nr..] != ys[nb..nb + no] {
        return invalid(format!("extents {:?} and {:?}", &xs[nb + nr..], &ys[nb..nb + no]));
    }
    let (r, k, c) = (&xs[nb..nb + nr], &xs[nb + nr..], &ys[nb + no..]);
    let size = |v: &[usize]| v.iter().product::<usize>();
    let left = s.b.reshape(&x, &[&xs[..nb], &[size(r), size(k)]].concat())?;
    let right = s.b.reshape(&y, &[&ys[..nb], &[size(k), size(c)]].concat())?;
    let value = s.b.matmul(&left, &right, false, false)?;
    let outer = s.b.shape(&value)[..nb].to_vec();
    let value = s.b.reshape(&value, &[&outer[..], r, c].concat())?;
    Ok(Term { value, labels: [batch, rows, cols].concat() })
}

pub(in crate::onnx) fn einsum(s: &mut Site) -> Out {
    let equation: String = s.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != s.inputs.len() {
        return invalid(format!("`{equation}` for {} operands", s.inputs.len()));
    }
    let (mut terms, mut dotted) = (Vec::new(), 0);
    for (i, part) in parts.iter().enumerate() {
        let value = s.input(i)?;
        let rank = s.b.rank(&value);
        let labels = labels(part, Some(rank), &mut dotted)?;
        if labels.len() != rank {
            return invalid(format!("`{part}` for an operand of rank {rank}"));
        }
        terms.push(diagonal(s, Term { value, labels })?);
    }
    let wanted = match right {
        Some(right) => labels(right, None, &mut dotted)?,
        None => {
            // In alphabetical order, those that occur once, after the ellipsis.
            let all: Vec<char> = left.chars().filter(|c| c.is_alphabetic()).collect();
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| all.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_unstable();
            (0..dotted).rev().map(dots).chain(once).collect()
        }
    };
    let mut rest = terms.into_iter();
    let Some(mut total) = rest.next() else { return invalid("nothing to multiply") };
    while let Some(next) = rest.next() {
        let later: Vec<char> = rest.as_slice().iter().flat_map(|t| t.labels.clone()).collect();
        let kept = |l: char| wanted.contains(&l) || later.contains(&l);
        total = joined(s, total, next, &kept)?;
    }
    let total = summed(s, total, &|l| wanted.contains(&l))?;
    if let Some(l) = wanted.iter().find(|l| !total.labels.contains(l)) {
        return invalid(format!("no operand of `{equation}` has the label `{l}`"));
    }
    Ok(vec![arranged(s, &total, &wanted)?])
}
