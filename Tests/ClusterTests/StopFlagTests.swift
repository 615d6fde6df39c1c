import Glibc
import Testing

@testable import Cluster

@Suite struct StopFlagTests {
    @Test func `a flag is raised to a number of requests, whoever made those before`() {
        let flag = StopFlag()
        flag.raise(SIGTERM, to: 0)
        #expect(flag.requests == 0 && !flag.isRaised)
        flag.raise(SIGINT)
        flag.raise(SIGTERM, to: 1)
        #expect(flag.requests == 1 && flag.raisedBy == SIGINT)
        flag.raise(SIGTERM, to: 2)
        #expect(flag.requests == 2 && flag.raisedBy == SIGINT)
        let other = StopFlag()
        other.raise(SIGTERM, to: 2)
        #expect(other.requests == 2 && other.raisedBy == SIGTERM)
    }
}
