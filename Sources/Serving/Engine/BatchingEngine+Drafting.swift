import Language
import Models
import Tensors

extension BatchingEngine {
    /// Whether drafting after this step would pay: every verified draft is one more row to compute,
    /// so it pays while streams are few.
    func canDraft(_ entries: [StepEntry]) -> Bool {
        configuration.speculates && network.canDraft
            && entries.count <= configuration.speculationStreams
            && drafting.drafts(streams: entries.count)
            && entries.contains { active[$0.id]?.mayDraft ?? false }
    }

    /// Runs the MTP block over everything that is certain now, so that its latents are complete,
    /// and takes its likeliest token as a draft where a next step can verify it.
    func draft(_ results: [EntryResult]) throws -> [RequestID: Int] {
        var chunks: [SequenceChunk] = []
        var sources: [(hidden: Tensor, row: Int)] = []
        var wanting: [RequestID] = []
        for result in results {
            guard let hidden = result.hidden, let sequence = scheduler[result.entry.id] else {
                continue
            }
            let text = sequence.tokens + result.newTokens
            let start = result.entry.start
            // The token after the last certain position is not known while a prompt is cut there.
            let count = min(result.rows, text.count - 1 - start)
            guard count > 0 else { continue }
            let wants = wantsDraft(result)
            if wants { wanting.append(result.entry.id) }
            chunks.append(
                SequenceChunk(
                    tokens: Array(text[start + 1 ... start + count]), position: start,
                    blocks: result.entry.blocks, wanted: wants ? .last : .none))
            sources += (0 ..< count).map { (hidden, result.firstRow + $0) }
        }
        let rows = Tensor(rows: sources.count, columns: results.first?.hidden?.columns ?? 0)
        for (index, source) in sources.enumerated() {
            rows.view(rows: index ..< index + 1).copy(
                from: source.hidden.view(rows: source.row ..< source.row + 1))
        }
        let result = try network.draft(chunks, hidden: rows)
        var drafts: [RequestID: Int] = [:]
        for (row, id) in wanting.enumerated() {
            drafts[id] = try Sampler.likeliest(result.logits.row(row))
        }
        return drafts
    }

    private func wantsDraft(_ result: EntryResult) -> Bool {
        guard result.entry.reachesEnd, result.failure == nil,
            let state = active[result.entry.id]
        else { return false }
        return state.finish == nil && state.mayDraft
    }
}
