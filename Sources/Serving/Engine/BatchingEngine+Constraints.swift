import Grammar

extension BatchingEngine {
    /// Finds which tokens may come next in the constrained texts of a step, before it begins.
    ///
    /// The request that has waited longest comes first. Once the step's share of work is spent, the
    /// others leave the step and wait: their tokens are the ones they would have had at once.
    ///
    /// - Returns: The entries that the step can compute.
    func constrain(_ entries: [StepEntry]) -> [StepEntry] {
        let wanting = entries.enumerated().compactMap { index, entry -> (Int, Int, RequestID)? in
            guard entry.reachesEnd, let state = active[entry.id], state.needsConstraining else {
                return nil
            }
            return (-state.waitedSteps, index, entry.id)
        }
        guard !wanting.isEmpty else { return entries }
        var missing: Set<RequestID> = []
        var spent = 0
        for (_, _, id) in wanting.sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            if spent >= configuration.constraintSteps {
                active[id]?.wait()
                missing.insert(id)
                continue
            }
            do throws(ServingError) {
                try active[id]?.constrain(spent: &spent)
            } catch {
                end(id, .failed(error))
                missing.insert(id)
            }
        }
        return entries.filter { !missing.contains($0.id) }
    }
}
