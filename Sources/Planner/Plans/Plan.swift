/// What a request comes to.
package struct Plan: Sendable {
    /// The request, its sizes found to fit.
    package let layout: Layout
    /// What the fullest rank holds.
    package let memory: Memory
    /// Figures with their formulas.
    package let report: PlanReport
    /// Tokens per second of one rank.
    package let tokensPerSecondPerRank: Double
    /// TPOT of decode, TTFT of prefill, a step of training.
    package let seconds: Double

    /// - Throws: `PlanError` where sizes or memory do not fit.
    package init(_ request: PlanRequest) throws(PlanError) {
        layout = try Layout(request)
        memory = try layout.memory()
        var writer = PlanWriter(layout: layout, memory: memory)
        switch request.phase {
        case .decode: (seconds, tokensPerSecondPerRank) = writer.writeDecode()
        case .prefill: (seconds, tokensPerSecondPerRank) = writer.writePrefill()
        case .train:
            (seconds, tokensPerSecondPerRank) = writer.writeTraining(try layout.trainingTimes())
        }
        report = writer.report()
    }
}
