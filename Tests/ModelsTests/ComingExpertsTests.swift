import Collectives
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Models

/// Memory of experts that come, said before they are read.
@Suite struct ComingExpertsTests {
    @Test(arguments: ["T-f32", "T-bf16", "T-fp8"], [false, true])
    func `experts take the memory that was said before they came`(
        name: String, copiesDrafts: Bool
    ) throws {
        let golden = try Golden(name)
        let shape = golden.configuration
        var options = ModelOptions(compute: .float32)
        options.copiesDraftExperts = copiesDrafts
        let chosen = options
        let all = try onRanks(2) { fabric -> (ComingExperts, grown: Int) in
            let map = try shape.expertMap(rankCount: 2)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: shape.expertParallel(maximumTokensPerRank: 8, compute: .float32),
                map: map)
            let model = try Model(
                golden.checkpoint, configuration: shape, options: chosen,
                pool: ThreadPool(threads: 1), shared: SharedExperts(group, map))
            let alone = try ExpertMap.remaining(
                of: shape.expertPlacements(rankCount: 2), living: [fabric.rank], epoch: 2)
            let coming = try ComingExperts(
                golden.checkpoint, configuration: shape, options: chosen,
                held: (map, fabric.rank), wanted: (alone, 0))
            let before = model.packedByteCount
            try model.share(nil, from: golden.checkpoint)
            return (coming, model.packedByteCount - before)
        }
        let layers = 3 + (copiesDrafts ? 0 : 1)
        for (coming, grown) in all {
            #expect(coming.count == shape.routedExpertCount / 2 * layers)
            #expect(coming.byteCount == grown)
        }
    }

    @Test func `experts that stay take nothing`() throws {
        let golden = try Golden("T-f32")
        let map = try golden.configuration.expertMap(rankCount: 2)
        let coming = try ComingExperts(
            golden.checkpoint, configuration: golden.configuration,
            options: ModelOptions(compute: .float32), held: (map, 1), wanted: (map, 1))
        #expect(coming == ComingExperts())
    }
}
