import Cluster
import Testing
