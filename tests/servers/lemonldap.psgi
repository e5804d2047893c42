# The portal of LemonLDAP::NG with people of a test in place of its demonstration accounts. The folder is in DOORLIST_TEST_PORTAL.
use strict;
use warnings;
use JSON qw(decode_json);
use Plack::Builder;
use Lemonldap::NG::Portal::Main;
use Lemonldap::NG::Portal::Auth::Demo;
use Lemonldap::NG::Portal::UserDB::Demo;
use Lemonldap::NG::Portal::Main::Constants qw(PE_OK PE_BADCREDENTIALS);

my $told = do {
    open my $file, '<', "$ENV{DOORLIST_TEST_PORTAL}/people.json" or die "people.json: $!";
    local $/;
    decode_json(<$file>);
};

{
    no warnings qw(once redefine);
    %Lemonldap::NG::Portal::UserDB::Demo::demoAccounts = %{ $told->{accounts} };
    %Lemonldap::NG::Portal::UserDB::Demo::demoGroups   = %{ $told->{groups} };

    # Its own wants the user's name as the password.
    *Lemonldap::NG::Portal::Auth::Demo::authenticate = sub {
        my ( $self, $request ) = @_;
        return PE_OK if $request->data->{password} eq $told->{password};
        $self->setSecurity($request);
        return PE_BADCREDENTIALS;
    };
}

my $portal = Lemonldap::NG::Portal::Main->run( {} );

builder {
    enable 'Static', path => sub { s!^/static/!! },     root => $told->{static};
    enable 'Static', path => sub { s!^/javascript/!! }, root => $told->{javascript};
    $portal;
};
