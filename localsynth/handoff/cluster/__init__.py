"""Running a packed job on a Ray cluster: shards as tasks of a pool of actors, with duplicate keys that they share."""
