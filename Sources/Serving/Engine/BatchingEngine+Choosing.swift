import Models
import Tensors

/// One entry of a step after its forward pass.
struct EntryResult {
    let entry: StepEntry
    /// Tokens whose latents are certain now.
    var computed: Int
    var newTokens: [Int] = []
    /// The hidden states of the forward pass that computed the entry.
    let hidden: Tensor?
    /// The entry's first row there.
    let firstRow: Int
    /// Its rows that are certain.
    var rows: Int
    /// Why no token could be chosen.
    ///
    /// It ends this request alone.
    var failure: ServingError?
}

extension BatchingEngine {
    /// The entries as the network takes them.
    func chunks(_ entries: [StepEntry]) -> [SequenceChunk] {
        entries.map { entry in
            let scoresPrompt = active[entry.id]?.request.promptTopLogprobs != nil
            let wanted: WantedLogits =
                entry.draftCount > 0 || scoresPrompt ? .all : entry.reachesEnd ? .last : .none
            return SequenceChunk(
                tokens: entry.tokens, position: entry.start, blocks: entry.blocks, wanted: wanted)
        }
    }

    /// Turns logits into tokens, entry by entry.
    ///
    /// A draft is accepted when it equals the token that its seed chooses anyway, so a text does
    /// not depend on drafts.
    func choose(_ entries: [StepEntry], _ result: ForwardResult) -> [EntryResult] {
        var logitRow = 0
        var hiddenRow = 0
        var results: [EntryResult] = []
        for (entry, chunk) in zip(entries, chunks(entries)) {
            let rows = chunk.wanted == .all ? entry.tokens.count : chunk.wanted == .last ? 1 : 0
            let logits = result.logits.view(rows: logitRow ..< logitRow + rows)
            let certain = entry.tokens.count - entry.draftCount
            var outcome = EntryResult(
                entry: entry, computed: entry.start + certain, hidden: result.hidden,
                firstRow: hiddenRow, rows: certain)
            if var state = active[entry.id] {
                if chunk.wanted == .all { scorePrompt(entry, logits, &state) }
                if entry.reachesEnd {
                    let first = chunk.wanted == .all ? certain - 1 : 0
                    do throws(ServingError) {
                        try chooseTokens(entry, logits, from: first, &state, &outcome)
                    } catch {
                        outcome.failure = error
                    }
                }
                active[entry.id] = state
            }
            results.append(outcome)
            logitRow += rows
            hiddenRow += entry.tokens.count
        }
        return results
    }

    private func chooseTokens(
        _ entry: StepEntry, _ logits: Tensor, from first: Int, _ state: inout ActiveRequest,
        _ outcome: inout EntryResult
    ) throws(ServingError) {
        begin(entry.id, &state)
        var scored: [ScoredToken] = []
        var row = first
        while state.finish == nil {
            guard
                let token = try state.choose(from: logits.row(row), endTokens: network.endTokens)
            else { break }
            scored.append(token)
            outcome.newTokens.append(token.token)
            let accepted = row - first
            guard accepted < entry.draftCount,
                token.token == entry.tokens[entry.tokens.count - entry.draftCount + accepted],
                // A mask takes its place among those of a step: this row is computed again then.
                !state.needsConstraining
            else { break }
            row += 1
            outcome.rows += 1
        }
        outcome.computed += outcome.rows - (entry.tokens.count - entry.draftCount)
        state.count(drafted: entry.draftCount, accepted: row - first)
        totals.draftedTokens += UInt64(entry.draftCount)
        totals.acceptedTokens += UInt64(row - first)
        totals.generatedTokens += UInt64(scored.count)
        if !scored.isEmpty { report(entry.id, .tokens(scored)) }
    }

    private func begin(_ id: RequestID, _ state: inout ActiveRequest) {
        state.count(cached: scheduler[id]?.cachedTokens ?? 0)
        guard !state.hasBegun else { return }
        state.hasBegun = true
        report(id, .began(promptScores: state.promptScores))
    }

    /// Scores the prompt tokens that this entry's logits predict.
    private func scorePrompt(_ entry: StepEntry, _ logits: Tensor, _ state: inout ActiveRequest) {
        guard state.request.promptTopLogprobs != nil, !state.hasBegun else { return }
        let prompt = state.request.prompt
        if entry.start == 0, state.promptScores.isEmpty { state.scorePrompt(prompt[0]) }
        for offset in 0 ..< entry.tokens.count where entry.start + offset + 1 < prompt.count {
            // A preempted request reads its prompt again: what is scored stays.
            guard state.promptScores.count == entry.start + offset + 1 else { continue }
            state.scorePrompt(prompt[entry.start + offset + 1], from: logits.row(offset))
        }
    }
}
