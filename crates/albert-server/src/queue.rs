//! The texts that wait to be computed, counted in tokens.
//!
//! A request waits as its texts, and is admitted whole or not at all. A step takes texts of the
//! oldest request first; the rest of its budget goes to the other requests, oldest first, and within
//! a request to the longest text that fits. While interactive and bulk requests both wait, three
//! steps begin with an interactive request and the fourth with a bulk one, so neither starves.

use std::collections::VecDeque;

/// The maximum number of texts in an interactive request; a larger request is bulk.
pub(crate) const INTERACTIVE_TEXTS: usize = 8;

/// Steps that begin with an interactive request for each one that begins with a bulk request.
const INTERACTIVE_STEPS: u32 = 3;

/// The waiting texts of requests `R`.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    /// In order of arrival.
    requests: VecDeque<Waiting<R>>,
    tokens: usize,
    /// Steps in a row that began with an interactive request while a bulk request waited.
    interactive_steps: u32,
}

#[derive(Debug)]
struct Waiting<R> {
    request: R,
    is_bulk: bool,
    /// Tokens and index of each text that is not taken yet, the shortest first.
    texts: Vec<(usize, usize)>,
}

/// Texts of one request that a step takes.
#[derive(Debug, PartialEq)]
pub(crate) struct Part<R> {
    pub(crate) request: R,
    /// Indices into the request's texts.
    pub(crate) texts: Vec<usize>,
    /// Their tokens.
    pub(crate) tokens: usize,
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self {
            requests: VecDeque::new(),
            tokens: 0,
            interactive_steps: 0,
        }
    }
}

impl<R: Clone> Queue<R> {
    /// Returns the number of waiting tokens.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns the number of requests with at least one waiting text.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds a request with the lengths of its texts in tokens, unless more than `limit` tokens would
    /// then wait. An empty queue takes any request: its size alone is bounded elsewhere.
    pub(crate) fn admit(&mut self, request: R, lengths: &[usize], limit: usize) -> bool {
        let tokens: usize = lengths.iter().sum();
        if self.tokens > 0 && self.tokens + tokens > limit {
            return false;
        }
        let mut texts: Vec<(usize, usize)> = lengths.iter().copied().zip(0..).collect();
        // Equal lengths are taken from the end, so in their own order.
        texts.sort_by_key(|&(tokens, index)| (tokens, std::cmp::Reverse(index)));
        if !texts.is_empty() {
            self.tokens += tokens;
            self.requests.push_back(Waiting {
                request,
                is_bulk: lengths.len() > INTERACTIVE_TEXTS,
                texts,
            });
        }
        true
    }

    /// Removes the requests that `is_gone` identifies and returns them.
    pub(crate) fn remove(&mut self, mut is_gone: impl FnMut(&R) -> bool) -> Vec<R> {
        let mut gone = Vec::new();
        self.requests.retain(|waiting| {
            let leaves = is_gone(&waiting.request);
            if leaves {
                self.tokens -= waiting
                    .texts
                    .iter()
                    .map(|&(tokens, _)| tokens)
                    .sum::<usize>();
                gone.push(waiting.request.clone());
            }
            !leaves
        });
        gone
    }

    /// Takes the texts of the next step: at most `budget` tokens, or one longer text by itself.
    pub(crate) fn take_step(&mut self, budget: usize) -> Vec<Part<R>> {
        let Some(first) = self.first() else {
            return Vec::new();
        };
        let mut left = budget;
        let mut parts = Vec::new();
        let others = (0..self.requests.len()).filter(|&index| index != first);
        for index in std::iter::once(first).chain(others) {
            if left == 0 {
                break;
            }
            let is_first = parts.is_empty();
            let waiting = &mut self.requests[index];
            let (texts, tokens) = waiting.take(left, is_first);
            left = left.saturating_sub(tokens);
            if !texts.is_empty() {
                parts.push(Part {
                    request: waiting.request.clone(),
                    texts,
                    tokens,
                });
            }
        }
        self.tokens -= parts.iter().map(|part| part.tokens).sum::<usize>();
        self.requests.retain(|waiting| !waiting.texts.is_empty());
        parts
    }

    /// Chooses the request that the next step begins with.
    fn first(&mut self) -> Option<usize> {
        let oldest = |bulk: bool| self.requests.iter().position(|it| it.is_bulk == bulk);
        match (oldest(false), oldest(true)) {
            (Some(interactive), Some(bulk)) => {
                if self.interactive_steps == INTERACTIVE_STEPS {
                    self.interactive_steps = 0;
                    return Some(bulk);
                }
                self.interactive_steps += 1;
                Some(interactive)
            }
            (only, None) | (None, only) => {
                self.interactive_steps = 0;
                only
            }
        }
    }
}

impl<R> Waiting<R> {
    /// Takes the longest texts that fit into `budget` tokens; with `at_least_one`, the longest text
    /// even if it does not fit.
    fn take(&mut self, budget: usize, at_least_one: bool) -> (Vec<usize>, usize) {
        let (mut taken, mut tokens) = (Vec::new(), 0);
        if at_least_one
            && self
                .texts
                .last()
                .is_some_and(|&(longest, _)| longest > budget)
            && let Some((longest, index)) = self.texts.pop()
        {
            return (vec![index], longest);
        }
        loop {
            let left = budget - tokens;
            let fitting = self.texts.partition_point(|&(tokens, _)| tokens <= left);
            let Some(position) = fitting.checked_sub(1) else {
                return (taken, tokens);
            };
            let (length, index) = self.texts.remove(position);
            tokens += length;
            taken.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1_000;

    fn queue(requests: &[(&'static str, &[usize])]) -> Queue<&'static str> {
        let mut queue = Queue::default();
        for (name, lengths) in requests {
            assert!(queue.admit(*name, lengths, LIMIT));
        }
        queue
    }

    /// The names, texts and tokens of a step's parts.
    fn step(queue: &mut Queue<&'static str>, budget: usize) -> Vec<(&'static str, Vec<usize>)> {
        let parts = queue.take_step(budget);
        parts
            .into_iter()
            .map(|part| (part.request, part.texts))
            .collect()
    }

    #[test]
    fn the_oldest_request_goes_first_and_the_longest_that_fit_fill_the_step() {
        let mut queue = queue(&[("a", &[10, 30]), ("b", &[70, 20]), ("c", &[5])]);
        assert_eq!(
            step(&mut queue, 64),
            [("a", vec![1, 0]), ("b", vec![1])],
            "40 of a, 20 of b; neither 70 nor 5 fits"
        );
        assert_eq!(queue.tokens(), 75);
    }

    #[test]
    fn a_text_longer_than_the_budget_goes_alone() {
        let mut queue = queue(&[("a", &[500, 10]), ("b", &[10])]);
        assert_eq!(step(&mut queue, 64), [("a", vec![0])]);
        assert_eq!(step(&mut queue, 64), [("a", vec![1]), ("b", vec![0])]);
        assert_eq!((queue.tokens(), queue.len()), (0, 0));
    }

    #[test]
    fn equal_texts_are_taken_in_their_order() {
        let mut queue = queue(&[("a", &[4, 4, 4, 4])]);
        assert_eq!(step(&mut queue, 8), [("a", vec![0, 1])]);
        assert_eq!(step(&mut queue, 8), [("a", vec![2, 3])]);
    }

    #[test]
    fn three_interactive_steps_go_before_one_of_a_bulk_request() {
        let mut queue = Queue::default();
        assert!(queue.admit("bulk", &[10; 20], LIMIT));
        for _ in 0..8 {
            assert!(queue.admit("one", &[10], LIMIT));
        }
        let firsts: Vec<_> = (0..8).map(|_| step(&mut queue, 10)[0].0).collect();
        assert_eq!(
            firsts,
            ["one", "one", "one", "bulk", "one", "one", "one", "bulk"]
        );
    }

    #[test]
    fn a_request_is_admitted_whole_or_not_at_all_and_an_empty_queue_takes_any() {
        let mut queue = Queue::default();
        assert!(queue.admit("large", &[2 * LIMIT], LIMIT));
        assert!(!queue.admit("late", &[1], LIMIT));
        assert_eq!((queue.tokens(), queue.len()), (2 * LIMIT, 1));
        assert_eq!(queue.take_step(8).len(), 1);
        assert!(queue.admit("late", &[1], LIMIT));
    }

    #[test]
    fn a_removed_request_gives_its_tokens_back() {
        let mut queue = queue(&[("a", &[10, 30]), ("b", &[7])]);
        assert_eq!(queue.remove(|name| *name == "a"), ["a"]);
        assert_eq!((queue.tokens(), queue.len()), (7, 1));
        assert_eq!(step(&mut queue, 64), [("b", vec![0])]);
    }
}
