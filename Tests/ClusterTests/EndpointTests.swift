import Foundation
import Testing

@testable import Cluster

@Suite struct EndpointTests {
    @Test(arguments: [
        ("10.0.0.1:7000", "10.0.0.1", 7000), ("[::1]:7000", "::1", 7000),
        ("[fd77::1]:19100", "fd77::1", 19100), ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("node1:0", "node1", 0), ("node1.example.org:65535", "node1.example.org", 65535),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80),
        ("/run/job/control", "/run/job/control", 0),
    ])
    func `an address of any kind is read, and written as it was`(
        text: String, address: String, port: Int
    ) throws {
        let endpoint = try Endpoint(text)
        #expect(endpoint.address == address)
        #expect(endpoint.port == port)
        #expect(endpoint.text == text)
    }

    @Test(arguments: [
        ("fd77::1:19100", "an IPv6 address stands in brackets, as [::1]:7000"),
        ("::1", "an IPv6 address stands in brackets"),
        ("[::1]", "is not address:port"), ("[::1]7000", "is not address:port"),
        ("[]:7000", "stands in brackets"), ("[::1:7000", "stands in brackets"),
        ("10.0.0.1", "is not address:port"), (":7000", "is not address:port"),
        ("node1:70000", "is not address:port"), ("node1:", "is not address:port"),
        ("node1:-1", "is not address:port"), ("", "is not address:port"),
    ])
    func `what is no address is refused with its text`(text: String, words: String) {
        let error = #expect(throws: ClusterError.self) { try Endpoint(text) }
        #expect("\(error!)".contains(words))
        #expect("\(error!)".hasPrefix(text))
    }

    @Test func `a URL has brackets around an IPv6 address, and its scope as RFC 6874 says`() {
        #expect(
            Endpoint(address: "::1", port: 8080).url("/v1") == "http://[::1]:8080/v1")
        #expect(
            Endpoint(address: "fe80::1%eth0", port: 80).url() == "http://[fe80::1%25eth0]:80")
        #expect(Endpoint(address: "node1", port: 80).url("/v1") == "http://node1:80/v1")
    }

    @Test func `a job file may write an IPv6 address with or without brackets`() throws {
        for address in ["::1", "[::1]"] {
            let job = try JobConfiguration(
                yaml: "model: m\ncontrol: {address: \"\(address)\"}", path: "a")
            #expect(job.control.address == "::1")
            #expect(job.control.text == "[::1]:0")
        }
    }

    @Test(arguments: ["", "a b", "/tmp", "10.0.0.1/24", "[::1"])
    func `a job file's address that cannot be one is refused with its field`(
        address: String
    ) throws {
        // The launcher of a lab writes the path of a socket as the control address.
        for field in address == "/tmp" ? ["http"] : ["control", "http"] {
            let error = #expect(throws: ClusterError.self) {
                try JobConfiguration(
                    yaml: "model: m\n\(field): {address: \"\(address)\"}", path: "a")
            }
            #expect("\(try #require(error))".contains("\(field).address \"\(address)\" is neither"))
        }
    }

    @Test func `numbers, sockets and localhost are no name that only this machine reaches`() {
        for address in ["127.0.1.1", "::1", "fe80::1%lo", "/run/a", "localhost"] {
            #expect(Endpoint(address: address, port: 1).loopbackWarning == nil, "\(address)")
            if address != "localhost" {
                #expect(Endpoint(address: address, port: 1).refusalHint == "", "\(address)")
            }
        }
    }

    @Test func `a name that refuses a connection is told what it is here`() {
        let hint = Endpoint(address: "localhost", port: 1).refusalHint
        #expect(hint.contains("the name localhost is "))
        #expect(hint.contains("127.0.1.1"))
    }
}
