"""Organizations and data: registration, data managers and their samples."""

from orchestrator import protos as pb
from tests.kit.messages import URL, new_data_manager, new_data_sample, new_key, samples, shared_with
from tests.kit.organization import Organization, refuses


def test_registration_registers_the_caller(bare: dict[str, Organization]):
    registered = bare["org-2"].send(pb.RegisterOrganizationParam(address=URL))
    assert (registered.id, registered.address) == ("org-2", URL)
    assert registered.creation_date.seconds
    assert list(bare["org-1"].send(pb.GetAllOrganizationsParam()).organizations) == [registered]


def test_a_second_registration_is_a_conflict(bare: dict[str, Organization]):
    bare["org-1"].send(pb.RegisterOrganizationParam(address=URL))
    for address in (URL, "", "https://elsewhere.example"):
        bare["org-1"].refused(pb.RegisterOrganizationParam(address=address), "OE0006")
    (only,) = bare["org-1"].send(pb.GetAllOrganizationsParam()).organizations
    assert only.address == URL


def test_an_organization_registers_in_each_channel(bare: dict[str, Organization], elsewhere: Organization):
    assert bare["org-1"].send(pb.GetAllOrganizationsParam()).organizations == []
    bare["org-1"].send(pb.RegisterOrganizationParam(address=URL))
    assert [organization.address for organization in elsewhere.send(pb.GetAllOrganizationsParam()).organizations] == [
        "",
        "",
        "",
    ]


def test_organizations_are_in_order_of_creation(bare: dict[str, Organization]):
    order = ["org-3", "org-1", "org-2"]
    registered = [bare[name].send(pb.RegisterOrganizationParam()) for name in order]
    assert list(bare["org-1"].send(pb.GetAllOrganizationsParam()).organizations) == registered
    assert [organization.id for organization in registered] == order


def test_a_data_manager_is_registered(org: Organization):
    new = new_data_manager(
        type="legacy",
        metadata={"k": "v"},
        new_permissions=shared_with("org-2"),
        logs_permission=shared_with("org-3"),
    )
    manager = org.send(new)
    assert manager.key == new.key
    assert manager.name == new.name
    assert manager.owner == "org-1"
    assert manager.description == new.description
    assert manager.opener == new.opener
    assert manager.metadata == {"k": "v"}
    assert manager.permissions.process.authorized_ids == ["org-2", "org-1"]
    assert manager.logs_permission.authorized_ids == ["org-3", "org-1"]
    assert manager.creation_date.seconds


def test_legacy_fields_are_accepted_and_not_kept(org: Organization):
    manager = org.send(new_data_manager(type="legacy"))
    assert manager.type == ""
    assert org.send(pb.GetDataManagerParam(key=manager.key)).type == ""
    sample = org.register_data_sample(manager, test_only=True)
    assert not sample.test_only
    assert not org.send(pb.GetDataSampleParam(key=sample.key)).test_only


def test_data_samples_are_registered(org: Organization):
    first, second = org.register_data_manager(), org.register_data_manager()
    new = [new_data_sample(first), new_data_sample(second, first, checksum="a" * 64)]
    registered = {sample.key: sample for sample in org.send(samples(*new)).data_samples}
    assert len(registered) == 2
    for asked in new:
        sample = registered[asked.key]
        assert sample.owner == "org-1"
        assert sample.checksum == asked.checksum
        assert sorted(sample.data_manager_keys) == sorted(asked.data_manager_keys)


def managers_of(org: Organization, sample: pb.DataSample) -> list[str]:
    return sorted(org.send(pb.GetDataSampleParam(key=sample.key)).data_manager_keys)


def test_managers_are_added_to_each_sample_without_duplicates(org: Organization):
    first, second, third = (org.register_data_manager() for _ in range(3))
    one, two = org.register_data_sample(first), org.register_data_sample(first, second)
    untouched = org.register_data_sample(first)
    org.send(pb.UpdateDataSamplesParam(keys=[one.key, two.key], data_manager_keys=[second.key, third.key, second.key]))
    for sample in (one, two):
        assert managers_of(org, sample) == sorted([first.key, second.key, third.key])
    assert managers_of(org, untouched) == [first.key]


def test_an_update_of_samples_is_one_event_each(org: Organization):
    first, second = org.register_data_manager(), org.register_data_manager()
    one, two = org.register_data_sample(first), org.register_data_sample(first)
    org.send(pb.UpdateDataSamplesParam(keys=[one.key, two.key, one.key], data_manager_keys=[second.key]))
    events = org.events(asset_kind=pb.ASSET_DATA_SAMPLE, event_kind=pb.EVENT_ASSET_UPDATED)
    assert sorted(event.asset_key for event in events) == sorted([one.key, two.key])
    for event in events:
        assert event.data_sample == org.send(pb.GetDataSampleParam(key=event.asset_key))


def test_samples_and_managers_must_be_the_callers(org: Organization, other: Organization):
    mine, theirs = org.register_data_manager(), other.register_data_manager()
    sample, foreign = org.register_data_sample(mine), other.register_data_sample(theirs)
    second = org.register_data_manager()

    def update(sample_keys: list[str], manager_keys: list[str]) -> pb.UpdateDataSamplesParam:
        return pb.UpdateDataSamplesParam(keys=sample_keys, data_manager_keys=manager_keys)

    org.refused(update([sample.key, foreign.key], [second.key]), "OE0102")
    org.refused(update([sample.key], [second.key, theirs.key]), "OE0102")
    org.refused(update([sample.key, new_key()], [second.key]), "OE0002")
    org.refused(update([sample.key], [second.key, new_key()]), "OE0002")
    other.refused(update([sample.key], [theirs.key]), "OE0102")
    assert managers_of(org, sample) == [mine.key]
    org.send(update([sample.key], [second.key]))
    assert managers_of(org, sample) == sorted([mine.key, second.key])


def test_a_dataset_is_a_manager_and_the_keys_of_its_samples(org: Organization):
    manager, empty = org.register_data_manager(), org.register_data_manager()
    together = sorted(new_key() for _ in range(5))
    org.send(samples(*(new_data_sample(manager, key=key) for key in reversed(together))))
    later = org.register_data_sample(empty)
    latest = org.register_data_sample(manager, key="00000000-0000-4000-8000-" + new_key()[-12:])
    org.send(pb.UpdateDataSamplesParam(keys=[later.key], data_manager_keys=[manager.key]))
    dataset = org.send(pb.GetDatasetParam(key=manager.key))
    assert dataset.data_manager == manager
    assert dataset.data_sample_keys == [*together, later.key, latest.key]
    assert org.send(pb.GetDatasetParam(key=empty.key)).data_sample_keys == [later.key]


def test_a_dataset_without_samples(org: Organization):
    manager = org.register_data_manager()
    assert org.send(pb.GetDatasetParam(key=manager.key)) == pb.Dataset(data_manager=manager)
    with refuses("OE0002"):
        org.send(pb.GetDatasetParam(key=new_key()))
