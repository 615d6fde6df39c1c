extension Schedule {
    /// DualPipe cut in half: both directions run on the same rank, so a rank holds stages `r` and
    /// `2R-1-r` of one copy of the model and the loss is on rank 0.
    ///
    /// Bubble and memory as DualPipe's with `2R` stages. Source: Sea AI Lab, "DualPipe could be
    /// better without the Dual"; DualPipe repository, dualpipev.
    static func dualPipeV(ranks: Int, microBatches: Int) throws(ScheduleError) -> Schedule {
        guard microBatches >= 2 * ranks else {
            throw .tooFewMicroBatches(
                .dualPipeV, microBatches: microBatches, minimum: 2 * ranks, ranks: ranks)
        }
        let compute = (0 ..< ranks).map { rank in
            var writer = BidirectionalWriter(
                depth: rank, half: ranks, microBatchesEachWay: microBatches,
                stages: [rank, 2 * ranks - 1 - rank], firstMicroBatches: [0, 0])
            return writer.write()
        }
        return Schedule(
            .dualPipeV, stageCount: 2 * ranks, rankCount: ranks, microBatchCount: microBatches,
            placement: .vee, compute: compute)
    }
}
